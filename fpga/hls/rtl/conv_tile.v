// One tile of the convolution array: TM x TN ring multiplications per cycle, mod 2^32.
//
// Work comes in blocks: TN input channels of one tile of pixels against TM output channels. A job is a sequence of
// blocks that accumulate (more input channels, or the parts of a kernel larger than 3x3); `first` clears the sums and
// `last` sends them. Blocks are double-buffered: one is loaded while the one before is multiplied.
//
//   cmd     {depthwise, last, first, stride[1:0], kw[1:0], kh[1:0], tw[3:0], th[3:0]}: th, tw <= 8 outputs, kernel <= 3x3
//   pix     (th-1)*stride+kh rows of (tw-1)*stride+kw pixels, TN channels each
//   wgt     dense: for each of TM outputs, kh x kw words of TN channels; depthwise: kh x kw words of TN channels
//   sums    after a last block: th x tw pixels, TM/4 bus words each
//
// Depthwise: three rows of multipliers take the kernel's rows, each channel on its own: kw cycles a pixel.
module conv_tile #(
    parameter TM = 8,
    parameter TN = 8,
    parameter FIFO_BITS = 3
) (
    input  wire             clk,
    input  wire             rst,
    input  wire             cmd_valid,
    output wire             cmd_ready,
    input  wire [31:0]      cmd_data,
    input  wire             pix_valid,
    output wire             pix_ready,
    input  wire [TN*32-1:0] pix_data,
    input  wire             wgt_valid,
    output wire             wgt_ready,
    input  wire [TN*32-1:0] wgt_data,
    output wire             sums_valid,
    input  wire             sums_ready,
    output wire [127:0]     sums_data
);
    localparam ROWS = 3;
    localparam BEATS = TM / 4;

    function [1:0] mod3(input [4:0] row);
        mod3 = row % 3;
    endfunction
    function [2:0] div3(input [4:0] row);
        div3 = row / 3;
    endfunction

    // ---- loading -------------------------------------------------------------------------------------------------
    reg [16:0] header [0:1];
    reg [1:0]  full;
    reg        load_bank, work_bank, loading, pix_done, wgt_done;
    reg [4:0]  in_row, in_col, last_row, last_col;
    reg [1:0]  w_ky, w_kx;
    reg [3:0]  w_out;
    reg [16:0] load_header;
    wire       load_dw = load_header[16];
    wire [1:0] load_kh = load_header[9:8], load_kw = load_header[11:10];

    assign cmd_ready = !loading && !full[load_bank];
    assign pix_ready = loading && !pix_done;
    assign wgt_ready = loading && !wgt_done;
    wire pix_fire = pix_valid && pix_ready, wgt_fire = wgt_valid && wgt_ready;
    wire pix_last = in_row == last_row && in_col == last_col;
    wire wgt_last = w_kx == load_kw - 2'd1 && w_ky == load_kh - 2'd1 && (load_dw || w_out == TM - 1);
    wire loaded = loading && (pix_done || (pix_fire && pix_last)) && (wgt_done || (wgt_fire && wgt_last));
    wire released;
    wire [3:0] w_tap = w_ky * load_kw + w_kx;

    always @(posedge clk)
        if (rst) begin
            full <= 2'b00;
            load_bank <= 1'b0;
            loading <= 1'b0;
        end else begin
            if (released) full[work_bank] <= 1'b0;
            if (cmd_valid && cmd_ready) begin
                loading     <= 1'b1;
                load_header <= cmd_data[16:0];
                pix_done    <= 1'b0;
                wgt_done    <= 1'b0;
                in_row      <= 5'd0;
                in_col      <= 5'd0;
                last_row    <= (cmd_data[3:0] - 4'd1) * cmd_data[13:12] + cmd_data[9:8] - 5'd1;
                last_col    <= (cmd_data[7:4] - 4'd1) * cmd_data[13:12] + cmd_data[11:10] - 5'd1;
                w_ky        <= 2'd0;
                w_kx        <= 2'd0;
                w_out       <= 4'd0;
            end
            if (pix_fire) begin
                in_col <= in_col == last_col ? 5'd0 : in_col + 5'd1;
                if (in_col == last_col) in_row <= in_row + 5'd1;
                if (pix_last) pix_done <= 1'b1;
            end
            if (wgt_fire) begin
                w_kx <= w_kx + 2'd1;
                if (w_kx == load_kw - 2'd1) begin
                    w_kx <= 2'd0;
                    w_ky <= w_ky + 2'd1;
                    if (w_ky == load_kh - 2'd1) begin
                        w_ky  <= 2'd0;
                        w_out <= w_out + 4'd1;
                    end
                end
                if (wgt_last) wgt_done <= 1'b1;
            end
            if (loaded) begin
                loading         <= 1'b0;
                full[load_bank] <= 1'b1;
                header[load_bank] <= load_header;
                load_bank       <= !load_bank;
            end
        end

    // ---- issuing -------------------------------------------------------------------------------------------------
    reg        working;
    reg [16:0] work;
    reg [3:0]  y, x, step;
    reg [1:0]  ky, kx;
    reg [5:0]  pixel;
    wire [3:0] th = work[3:0], tw = work[7:4];
    wire [1:0] kh = work[9:8], kw = work[11:10], stride = work[13:12];
    wire       first = work[14], last = work[15], dw = work[16];
    wire [3:0] taps = dw ? {2'd0, kw} : kh * kw;
    wire [3:0] steps = last && taps < BEATS ? BEATS : taps;  // a pixel's sums take BEATS cycles on the bus
    reg  [FIFO_BITS:0] promised;  // places of the output buffer that are taken or will be
    wire       blocked = last && step == 4'd0 && promised[FIFO_BITS];
    wire       end_pixel = step == steps - 4'd1;
    wire       all_issued = x == tw - 4'd1 && y == th - 4'd1 && end_pixel;
    wire       issue = working && !blocked;
    wire       tap = issue && step < taps;
    wire       done = issue && all_issued;  // a sum is written before the next block can read it
    assign     released = done;
    wire       promise = issue && last && step == 4'd0;
    wire       emitted;

    always @(posedge clk)
        if (rst) begin
            work_bank <= 1'b0;
            working <= 1'b0;
            promised <= 0;
        end else begin
            promised <= promised + promise - emitted;
            if (issue) begin
                step <= step + 4'd1;
                kx <= kx + 2'd1;
                if (kx == kw - 2'd1) begin
                    kx <= 2'd0;
                    ky <= ky + 2'd1;
                end
                if (end_pixel) begin
                    step  <= 4'd0;
                    kx    <= 2'd0;
                    ky    <= 2'd0;
                    pixel <= pixel + 6'd1;
                    x     <= x == tw - 4'd1 ? 4'd0 : x + 4'd1;
                    if (x == tw - 4'd1) y <= y + 4'd1;
                end
            end
            if (done) begin
                working   <= 1'b0;
                work_bank <= !work_bank;
            end
            if (!working && full[work_bank]) begin
                working <= 1'b1;
                work    <= header[work_bank];
                y       <= 4'd0;
                x       <= 4'd0;
                step    <= 4'd0;
                kx      <= 2'd0;
                ky      <= 2'd0;
                pixel   <= 6'd0;
            end
        end

    // ---- stage 1: addresses --------------------------------------------------------------------------------------
    wire [4:0] top_row = y * stride, column = x * stride + kx;
    reg  [8:0] pix_address [0:ROWS-1];
    reg  [4:0] wgt_address;
    reg  [1:0] row_bank [0:ROWS-1];
    // control of a tap that moves along: {valid, start, end, first, last, depthwise, kh, pixel}
    localparam CONTROL = 14;
    reg [CONTROL-1:0] control [1:8];
    integer i, j;
    reg [4:0] row;
    always @(posedge clk) begin
        wgt_address <= {work_bank, dw ? {2'd0, kx} : step};
        for (i = 0; i < ROWS; i = i + 1) begin
            row = top_row + (dw ? i[4:0] : {3'd0, ky});
            row_bank[i] <= mod3(row);
            for (j = 0; j < ROWS; j = j + 1)
                if (mod3(row) == j[1:0]) pix_address[j] <= {work_bank, div3(row), column};
        end
        control[1] <= {tap, step == 4'd0, step == taps - 4'd1, first, last, dw, kh, pixel};
        for (i = 2; i <= 8; i = i + 1) control[i] <= rst ? {CONTROL{1'b0}} : control[i-1];
        if (rst) control[1] <= {CONTROL{1'b0}};
    end

    // ---- stages 2 and 3: operands --------------------------------------------------------------------------------
    wire [TN*32-1:0] pix_read [0:ROWS-1];
    reg  [1:0]       read_bank [0:ROWS-1];
    reg  [TN*32-1:0] operand [0:ROWS-1];
    genvar m, n, r;
    generate
        for (r = 0; r < ROWS; r = r + 1) begin : rows
            (* ram_style = "block" *) reg [TN*32-1:0] memory [0:511];
            reg [TN*32-1:0] read;
            assign pix_read[r] = read;
            always @(posedge clk) begin
                if (pix_fire && mod3(in_row) == r) memory[{load_bank, div3(in_row), in_col}] <= pix_data;
                read <= memory[pix_address[r]];
                read_bank[r] <= row_bank[r];
                operand[r] <= pix_read[read_bank[r]];
            end
        end
    endgenerate

    // ---- stages 4 to 8: products and their sum -------------------------------------------------------------------
    wire [TM*TN*32-1:0] products;
    generate
        for (m = 0; m < TM; m = m + 1) begin : outputs
            (* ram_style = "distributed" *) reg [TN*32-1:0] memory [0:31];
            reg [TN*32-1:0] read, weight;
            wire mine = wgt_fire && (load_dw ? w_ky == m : w_out == m);
            always @(posedge clk) begin
                if (mine) memory[{load_bank, load_dw ? {2'd0, w_kx} : w_tap}] <= wgt_data;
                read   <= memory[wgt_address];
                weight <= read;
            end
            for (n = 0; n < TN; n = n + 1) begin : inputs
                mul32 multiplier (
                    .clk(clk), .enable(1'b1),
                    .a(operand[m < ROWS ? m : ROWS-1][n*32 +: 32]), .b(weight[n*32 +: 32]),
                    .product(products[(m*TN+n)*32 +: 32])
                );
            end
        end
    endgenerate

    // A register after every adder, two operands each: chains of them would become carry-save trees of twice the logic.
    wire [1:0] rows_used = control[5][7:6];
    reg [TM*TN/2*32-1:0] pairs;
    reg [TM*32-1:0] left, right, upper_rows, third_row, tree;
    reg [31:0] add_left, add_right;
    always @(posedge clk)
        for (i = 0; i < TM; i = i + 1) begin
            for (j = 0; j < TN / 2; j = j + 1)
                pairs[(i*TN/2+j)*32 +: 32] <= products[(i*TN+2*j)*32 +: 32] + products[(i*TN+2*j+1)*32 +: 32];
            if (i < TN) begin
                upper_rows[i*32 +: 32] <= products[i*32 +: 32] + (rows_used > 1 ? products[(TN+i)*32 +: 32] : 32'd0);
                third_row[i*32 +: 32]  <= rows_used > 2 ? products[(2*TN+i)*32 +: 32] : 32'd0;
            end
            add_left  = 32'd0;
            add_right = 32'd0;
            for (j = 0; j < TN / 4; j = j + 1) begin
                add_left  = add_left + pairs[(i*TN/2+j)*32 +: 32];
                add_right = add_right + pairs[(i*TN/2+TN/4+j)*32 +: 32];
            end
            left[i*32 +: 32]  <= control[6][8] ? upper_rows[i*32 +: 32] + third_row[i*32 +: 32] : add_left;
            right[i*32 +: 32] <= control[6][8] ? 32'd0 : add_right;
            tree[i*32 +: 32]  <= left[i*32 +: 32] + right[i*32 +: 32];
        end

    // ---- stage 9: accumulation -----------------------------------------------------------------------------------
    (* ram_style = "distributed" *) reg [TM*32-1:0] sums [0:63];
    reg [TM*32-1:0] previous, accumulator, next;
    wire [CONTROL-1:0] now = control[8];
    wire write = now[13] && now[11];
    wire push = write && now[9];
    always @(*)
        for (i = 0; i < TM; i = i + 1)
            next[i*32 +: 32] = tree[i*32 +: 32]
                + (!now[12] ? accumulator[i*32 +: 32] : now[10] ? 32'd0 : previous[i*32 +: 32]);
    always @(posedge clk) begin
        previous <= sums[control[7][5:0]];
        if (now[13]) accumulator <= next;
        if (write) sums[now[5:0]] <= next;
    end

    // ---- output --------------------------------------------------------------------------------------------------
    (* ram_style = "distributed" *) reg [TM*32-1:0] fifo [0:(1<<FIFO_BITS)-1];
    reg [FIFO_BITS:0] head, tail;
    reg [3:0] beat;
    wire [TM*32-1:0] front = fifo[head[FIFO_BITS-1:0]];
    assign sums_valid = head != tail;
    assign sums_data = front[beat*128 +: 128];
    assign emitted = sums_valid && sums_ready && beat == BEATS - 1;
    always @(posedge clk)
        if (rst) begin
            head <= 0;
            tail <= 0;
            beat <= 4'd0;
        end else begin
            if (push) begin
                fifo[tail[FIFO_BITS-1:0]] <= next;
                tail <= tail + 1'b1;
            end
            if (sums_valid && sums_ready) beat <= emitted ? 4'd0 : beat + 4'd1;
            if (emitted) head <= head + 1'b1;
        end
endmodule
