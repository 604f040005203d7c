// a * b mod 2^32 in two DSP48E2 blocks, two cycles: a 26x17 and a 15x15 product; the 6x6 corner is logic.
//
//   a * b = a[25:0] * b[16:0]  +  2^17 * a[14:0] * b[31:17]  +  2^26 * a[31:26] * b[5:0]   (mod 2^32)
module mul32 (
    input  wire        clk,
    input  wire        enable,
    input  wire [31:0] a,
    input  wire [31:0] b,
    output reg  [31:0] product
);
    (* use_dsp = "yes" *) reg [42:0] low;
    (* use_dsp = "yes" *) reg [29:0] high;
    reg [5:0] corner;
    wire [14:0] upper = low[31:17] + high[14:0];

    always @(posedge clk)
        if (enable) begin
            low     <= a[25:0] * b[16:0];
            high    <= a[14:0] * b[31:17];
            corner  <= a[31:26] * b[5:0];
            product <= {upper[14:9] + corner, upper[8:0], low[16:0]};
        end
endmodule
