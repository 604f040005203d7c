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
    reg  [ROUNDS:0] occupied;
    reg  [127:0] whitened;
    wire [127:0] states [0:ROUNDS];
    wire advance = !occupied[ROUNDS] || s_ready;
    wire fire = b_valid && advance && keys == ROUNDS + 1;
    assign k_ready = keys != ROUNDS + 1;
    assign b_ready = fire;
    assign s_valid = occupied[ROUNDS];
    assign s_data = states[ROUNDS];
    assign states[0] = whitened;

    always @(posedge clk) begin
        if (rst) begin
            keys <= 4'd0;
            occupied <= 0;
        end else begin
            if (k_valid && k_ready) begin
                round_keys[keys] <= k_data;
                keys <= keys + 4'd1;
            end
            if (advance) occupied <= {occupied[ROUNDS-1:0], fire};
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
