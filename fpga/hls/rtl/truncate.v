// Share of z >> bits from an opened word, LANES words per cycle.
//
// masked: `opened` is z + r; u and v are shares of rho_0 and rho_1, and the share is [party 0]*A - rho_t with
// A = (M >> bits) - 2^(30-bits), M = opened + 2^30, t = M's top bit.
// beaver-ot (`dealt_top`): `opened` is M itself; u shares r >> bits and v the top bit of r, so that
// rho_0 = u - v * 2^(32-bits) and rho_1 = u.
module truncate #(
    parameter LANES = 4
) (
    input  wire                clk,
    input  wire                rst,
    input  wire                party0,
    input  wire                dealt_top,
    input  wire [4:0]          bits,      // 1..30
    input  wire                m_valid,
    output wire                m_ready,
    input  wire [LANES*32-1:0] m_data,
    input  wire                u_valid,
    output wire                u_ready,
    input  wire [LANES*32-1:0] u_data,
    input  wire                v_valid,
    output wire                v_ready,
    input  wire [LANES*32-1:0] v_data,
    output wire                s_valid,
    input  wire                s_ready,
    output wire [LANES*32-1:0] s_data
);
    wire advance, fire;
    stream_stages #(.INPUTS(3), .STAGES(3)) handshake (
        .clk(clk), .rst(rst), .in_valid({m_valid, u_valid, v_valid}), .in_ready(fire), .advance(advance),
        .out_valid(s_valid), .out_ready(s_ready)
    );
    assign {m_ready, u_ready, v_ready} = {3{fire}};
    wire [31:0] offset = 32'h4000_0000 >> bits;
    wire [5:0]  wrap_shift = 6'd32 - {1'b0, bits};

    genvar lane;
    generate
        for (lane = 0; lane < LANES; lane = lane + 1) begin : lanes
            reg [31:0] word, u, v, shifted, wrap, mask, share;
            always @(posedge clk)
                if (advance) begin
                    word    <= m_data[lane*32 +: 32] + (dealt_top ? 32'd0 : 32'h4000_0000);
                    u       <= u_data[lane*32 +: 32];
                    v       <= v_data[lane*32 +: 32];
                    shifted <= word >> bits;
                    mask    <= dealt_top || !word[31] ? u : v;
                    wrap    <= dealt_top && !word[31] ? v << wrap_shift : 32'd0;
                    share   <= (party0 ? shifted - offset : 32'd0) - mask + wrap;
                end
            assign s_data[lane*32 +: 32] = share;
        end
    endgenerate
endmodule
