// Leaves of the comparison of `masked`: per digit, shares of [m < r] and [m = r] from the public digit m and shares of
// the one-hot word of r's digit. WIDTH elements at a time, one plane (one bit of each) per cycle.
//
// Per block of WIDTH elements: `m` carries the bits of the digits, the lowest digit (LOWEST_BITS) first, then `digits`
// digits of four bits, bit 0 first; `h` carries one plane per value of each digit; `leaf` answers less of the lowest
// digit, then less and equal of every other one. The bits of the next digit are fetched while this one is compared.
module digit_compare #(
    parameter WIDTH = 128,
    parameter LOWEST_BITS = 3
) (
    input  wire             clk,
    input  wire             rst,
    input  wire [3:0]       digits,
    input  wire             m_valid,
    output wire             m_ready,
    input  wire [WIDTH-1:0] m_data,
    input  wire             h_valid,
    output wire             h_ready,
    input  wire [WIDTH-1:0] h_data,
    output wire             leaf_valid,
    input  wire             leaf_ready,
    output wire [WIDTH-1:0] leaf_data
);
    // Bits of the next digit.
    reg [WIDTH-1:0] next_bits [0:3];
    reg [3:0] fetch_digit;
    reg [2:0] fetched;
    wire [2:0] fetch_bits = fetch_digit == 4'd0 ? LOWEST_BITS[2:0] : 3'd4;
    wire next_ready = fetched == fetch_bits;
    // The digit that is compared.
    reg [WIDTH-1:0] bits [0:3];
    reg [3:0] value, last_value;
    reg active, lowest;
    reg [WIDTH-1:0] less, equal;
    // The answer of the digit before.
    reg [WIDTH-1:0] less_out, equal_out;
    reg [1:0] pending;  // leaves that are still to be sent

    wire finishing = value == last_value;
    wire room = pending == 2'd0 || (pending == 2'd1 && leaf_ready);
    wire compare = active && h_valid && (!finishing || room);
    wire take = next_ready && (!active || (compare && finishing));
    reg lowest_out;
    assign m_ready = !next_ready;
    assign h_ready = active && (!finishing || room);
    assign leaf_valid = pending != 2'd0;
    assign leaf_data = pending == 2'd2 || lowest_out ? less_out : equal_out;

    wire [WIDTH-1:0] below, same;
    genvar lane;
    generate
        for (lane = 0; lane < WIDTH; lane = lane + 1) begin : lanes
            wire [3:0] digit = {bits[3][lane], bits[2][lane], bits[1][lane], bits[0][lane]};
            assign below[lane] = digit < value;
            assign same[lane] = digit == value;
        end
    endgenerate
    wire [WIDTH-1:0] next_less = less ^ (h_data & below);
    wire [WIDTH-1:0] next_equal = equal ^ (h_data & same);

    integer i;
    always @(posedge clk)
        if (rst) begin
            fetch_digit <= 4'd0;
            fetched <= 3'd0;
            active <= 1'b0;
            pending <= 2'd0;
        end else begin
            if (m_valid && m_ready) begin
                next_bits[fetched[1:0]] <= m_data;
                fetched <= fetched + 3'd1;
            end
            if (leaf_valid && leaf_ready) pending <= pending - 2'd1;
            if (compare) begin
                value <= value + 4'd1;
                less  <= next_less;
                equal <= next_equal;
                if (finishing) begin
                    active     <= 1'b0;
                    less_out   <= next_less;
                    equal_out  <= next_equal;
                    lowest_out <= lowest;
                    pending    <= lowest ? 2'd1 : 2'd2;
                end
            end
            if (take) begin
                for (i = 0; i < 4; i = i + 1)
                    bits[i] <= i < fetch_bits ? next_bits[i] : {WIDTH{1'b0}};
                active      <= 1'b1;
                lowest      <= fetch_digit == 4'd0;
                value       <= 4'd0;
                last_value  <= fetch_digit == 4'd0 ? (4'd1 << LOWEST_BITS) - 4'd1 : 4'd15;
                less        <= {WIDTH{1'b0}};
                equal       <= {WIDTH{1'b0}};
                fetched     <= 3'd0;
                fetch_digit <= fetch_digit == digits ? 4'd0 : fetch_digit + 4'd1;
            end
        end
endmodule
