// AES-128, one block per cycle: counters in, keystream out. The eleven round keys of a key come once, before the blocks.
module aes128 (
    input  wire         clk,
    input  wire         rst,
    input  wire         k_valid,
    output wire         k_ready,
    input  wire [127:0] k_data,
    input  wire         b_valid,
    output wire         b_ready,
    input  wire [127:0] b_data,
    output wire         s_valid,
    input  wire         s_ready,
    output wire [127:0] s_data
);
    localparam ROUNDS = 10;
    reg  [127:0] round_keys [0:ROUNDS];
    reg  [3:0]   keys;
    reg  [127:0] whitened;
    wire [127:0] states [0:ROUNDS];
    wire advance;
    assign k_ready = keys != ROUNDS + 1;
    stream_stages #(.INPUTS(2), .STAGES(ROUNDS + 1)) handshake (
        .clk(clk), .rst(rst), .in_valid({b_valid, !k_ready}), .in_ready(b_ready), .advance(advance),
        .out_valid(s_valid), .out_ready(s_ready)
    );
    assign s_data = states[ROUNDS];
    assign states[0] = whitened;

    always @(posedge clk) begin
        if (rst) begin
            keys <= 4'd0;
        end else if (k_valid && k_ready) begin
            round_keys[keys] <= k_data;
            keys <= keys + 4'd1;
        end
        if (advance) whitened <= b_data ^ round_keys[0];
    end

    genvar i;
    generate
        for (i = 1; i <= ROUNDS; i = i + 1) begin : rounds
            if (i < ROUNDS) begin : middle
                aes_round round (.clk(clk), .enable(advance), .state(states[i-1]), .round_key(round_keys[i]), .next(states[i]));
            end else begin : closing
                aes_round #(.LAST(1)) round (
                    .clk(clk), .enable(advance), .state(states[i-1]), .round_key(round_keys[i]), .next(states[i])
                );
            end
        end
    endgenerate
endmodule
