// Share of x AND y from opened masked bits, WIDTH gates per cycle: r = c ^ (d & b) ^ (e & a) ^ [party 0](d & e),
// where d = x ^ a and e = y ^ b are open and c shares a & b.
module bit_and #(
    parameter WIDTH = 128
) (
    input  wire             clk,
    input  wire             rst,
    input  wire             party0,
    input  wire             d_valid,
    output wire             d_ready,
    input  wire [WIDTH-1:0] d_data,
    input  wire             e_valid,
    output wire             e_ready,
    input  wire [WIDTH-1:0] e_data,
    input  wire             a_valid,
    output wire             a_ready,
    input  wire [WIDTH-1:0] a_data,
    input  wire             b_valid,
    output wire             b_ready,
    input  wire [WIDTH-1:0] b_data,
    input  wire             c_valid,
    output wire             c_ready,
    input  wire [WIDTH-1:0] c_data,
    output wire             r_valid,
    input  wire             r_ready,
    output wire [WIDTH-1:0] r_data
);
    reg [WIDTH-1:0] result;
    wire advance, fire;
    stream_stages #(.INPUTS(5), .STAGES(1)) handshake (
        .clk(clk), .rst(rst), .in_valid({d_valid, e_valid, a_valid, b_valid, c_valid}), .in_ready(fire),
        .advance(advance), .out_valid(r_valid), .out_ready(r_ready)
    );
    assign {d_ready, e_ready, a_ready, b_ready, c_ready} = {5{fire}};
    assign r_data = result;

    always @(posedge clk) begin
        if (advance) result <= c_data ^ (d_data & b_data) ^ (e_data & a_data) ^ ({WIDTH{party0}} & d_data & e_data);
    end
endmodule
