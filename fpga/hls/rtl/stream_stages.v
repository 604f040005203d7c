// The handshake of a pipeline that takes one word of each of its INPUTS streams at a time and answers STAGES cycles later:
// it takes all of them or none, and stands still while its answer waits.
module stream_stages #(
    parameter INPUTS = 1,
    parameter STAGES = 1
) (
    input  wire              clk,
    input  wire              rst,
    input  wire [INPUTS-1:0] in_valid,
    output wire              in_ready,  // of every stream
    output wire              advance,   // every stage takes what the one before it holds
    output wire              out_valid,
    input  wire              out_ready
);
    reg [STAGES-1:0] occupied;
    assign advance = !occupied[STAGES-1] || out_ready;
    assign in_ready = &in_valid && advance;
    assign out_valid = occupied[STAGES-1];

    always @(posedge clk)
        if (rst) occupied <= {STAGES{1'b0}};
        else if (advance) occupied <= (occupied << 1) | in_ready;
endmodule
