// a * b mod 2^64 for a signed 32-bit a, three cycles: four DSP48E2 blocks for a's low 26 bits, logic for its top.
//
//   a * b = a[25:0] * b  +  2^26 * a[31:26] * b[37:0]  -  2^32 * a[31] * b[31:0]   (mod 2^64)
module mul_wide (
    input  wire        clk,
    input  wire        enable,
    input  wire [31:0] a,
    input  wire [63:0] b,
    output reg  [63:0] product
);
    (* use_dsp = "yes" *) reg [42:0] part0, part1, part2;
    (* use_dsp = "yes" *) reg [25:0] part3;
    (* use_dsp = "no" *)  reg [37:0] top;
    reg [31:0] negative;
    reg [63:0] low, high;

    always @(posedge clk)
        if (enable) begin
            part0    <= a[25:0] * b[16:0];
            part1    <= a[25:0] * b[33:17];
            part2    <= a[25:0] * b[50:34];
            part3    <= a[12:0] * b[63:51];
            top      <= a[31:26] * b[37:0];
            negative <= a[31] ? b[31:0] : 32'd0;
            low      <= part0 + {part1, 17'd0};
            high     <= {part2[29:0], 34'd0} + {part3[12:0], 51'd0} + {top, 26'd0} - {negative, 32'd0};
            product  <= low + high;
        end
endmodule
