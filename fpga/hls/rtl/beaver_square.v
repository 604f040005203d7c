// Share of x^2, LANES words per cycle: r = z + e * (party0 * e +- 2a).
//
// beaver-ot (Eq. 3): e = x - a is opened, `subtract` is 0.  masked: x = e - a with e public, `subtract` is 1.
// `party0` adds the public square, which one party alone may do.
module beaver_square #(
    parameter LANES = 4
) (
    input  wire                clk,
    input  wire                rst,
    input  wire                party0,
    input  wire                subtract,
    input  wire                e_valid,
    output wire                e_ready,
    input  wire [LANES*32-1:0] e_data,
    input  wire                a_valid,
    output wire                a_ready,
    input  wire [LANES*32-1:0] a_data,
    input  wire                z_valid,
    output wire                z_ready,
    input  wire [LANES*32-1:0] z_data,
    output wire                r_valid,
    input  wire                r_ready,
    output wire [LANES*32-1:0] r_data
);
    wire advance, fire;
    stream_stages #(.INPUTS(3), .STAGES(4)) handshake (
        .clk(clk), .rst(rst), .in_valid({e_valid, a_valid, z_valid}), .in_ready(fire), .advance(advance),
        .out_valid(r_valid), .out_ready(r_ready)
    );
    assign {e_ready, a_ready, z_ready} = {3{fire}};

    genvar lane;
    generate
        for (lane = 0; lane < LANES; lane = lane + 1) begin : lanes
            wire [31:0] e = e_data[lane*32 +: 32];
            wire [31:0] a = a_data[lane*32 +: 32];
            reg  [31:0] factor, opened, z0, z1, z2, result;
            wire [31:0] twice = {a[30:0], 1'b0};
            wire [31:0] product;
            mul32 multiplier (.clk(clk), .enable(advance), .a(opened), .b(factor), .product(product));
            always @(posedge clk)
                if (advance) begin
                    factor <= (party0 ? e : 32'd0) + (subtract ? -twice : twice);
                    opened <= e;
                    z0     <= z_data[lane*32 +: 32];
                    z1     <= z0;
                    z2     <= z1;
                    result <= z2 + product;
                end
            assign r_data[lane*32 +: 32] = result;
        end
    endgenerate
endmodule
