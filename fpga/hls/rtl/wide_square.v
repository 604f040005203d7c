// Share of x^2 mod 2^64 for x = e - a with e public (`masked` behind a truncation), LANES double words per cycle:
// r = z + e * (party0 * e - 2a). e fits 32 bits with its sign; a and z are shares mod 2^64.
module wide_square #(
    parameter LANES = 2
) (
    input  wire                clk,
    input  wire                rst,
    input  wire                party0,
    input  wire                e_valid,
    output wire                e_ready,
    input  wire [LANES*64-1:0] e_data,
    input  wire                a_valid,
    output wire                a_ready,
    input  wire [LANES*64-1:0] a_data,
    input  wire                z_valid,
    output wire                z_ready,
    input  wire [LANES*64-1:0] z_data,
    output wire                r_valid,
    input  wire                r_ready,
    output wire [LANES*64-1:0] r_data
);
    wire advance, fire;
    stream_stages #(.INPUTS(3), .STAGES(5)) handshake (
        .clk(clk), .rst(rst), .in_valid({e_valid, a_valid, z_valid}), .in_ready(fire), .advance(advance),
        .out_valid(r_valid), .out_ready(r_ready)
    );
    assign {e_ready, a_ready, z_ready} = {3{fire}};

    genvar lane;
    generate
        for (lane = 0; lane < LANES; lane = lane + 1) begin : lanes
            wire [63:0] e = e_data[lane*64 +: 64];
            wire [63:0] a = a_data[lane*64 +: 64];
            reg  [31:0] opened;
            reg  [63:0] factor, z0, z1, z2, z3, result;
            wire [63:0] product;
            mul_wide multiplier (.clk(clk), .enable(advance), .a(opened), .b(factor), .product(product));
            always @(posedge clk)
                if (advance) begin
                    factor <= (party0 ? e : 64'd0) - {a[62:0], 1'b0};
                    opened <= e[31:0];
                    z0     <= z_data[lane*64 +: 64];
                    z1     <= z0;
                    z2     <= z1;
                    z3     <= z2;
                    result <= z3 + product;
                end
            assign r_data[lane*64 +: 64] = result;
        end
    endgenerate
endmodule
