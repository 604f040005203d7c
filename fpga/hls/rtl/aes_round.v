// One round of AES-128 (FIPS 197), a cycle: SubBytes, ShiftRows, MixColumns (not in the LAST round), AddRoundKey.
// Byte i of the block is bits 8i+7..8i.
module aes_round #(
    parameter LAST = 0
) (
    input  wire         clk,
    input  wire         enable,
    input  wire [127:0] state,
    input  wire [127:0] round_key,
    output reg  [127:0] next
);
    // The S-box, value 0 in the lowest byte.
    localparam [2047:0] SBOX = {
        256'h16bb54b00f2d99416842e6bf0d89a18cdf2855cee9871e9b948ed9691198f8e1,
        256'h9e1dc186b95735610ef6034866b53e708a8bbd4b1f74dde8c6b4a61c2e2578ba,
        256'h08ae7a65eaf4566ca94ed58d6d37c8e779e4959162acd3c25c2406490a3a32e0,
        256'hdb0b5ede14b8ee4688902a22dc4f816073195d643d7ea7c41744975fec130ccd,
        256'hd2f3ff1021dab6bcf5389d928f40a351a89f3c507f02f94585334d43fbaaefd0,
        256'hcf584c4a39becb6a5bb1fc20ed00d153842fe329b3d63b52a05a6e1b1a2c8309,
        256'h75b227ebe28012079a059618c323c7041531d871f1e5a534ccf73f362693fdb7,
        256'hc072a49cafa2d4adf04759fa7dc982ca76abd7fe2b670130c56f6bf27b777c63
    };

    function [7:0] sub(input [7:0] value);
        sub = SBOX[value*8 +: 8];
    endfunction
    function [7:0] twice(input [7:0] value);
        twice = {value[6:0], 1'b0} ^ (value[7] ? 8'h1b : 8'h00);
    endfunction

    wire [127:0] shifted, mixed;
    genvar column, row;
    generate
        for (column = 0; column < 4; column = column + 1) begin : columns
            for (row = 0; row < 4; row = row + 1) begin : rows
                assign shifted[(4*column+row)*8 +: 8] = sub(state[(4*((column+row)%4)+row)*8 +: 8]);
                wire [7:0] a = shifted[(4*column+row)*8 +: 8];
                wire [7:0] b = shifted[(4*column+(row+1)%4)*8 +: 8];
                wire [7:0] c = shifted[(4*column+(row+2)%4)*8 +: 8];
                wire [7:0] d = shifted[(4*column+(row+3)%4)*8 +: 8];
                assign mixed[(4*column+row)*8 +: 8] = LAST ? a : twice(a) ^ twice(b) ^ b ^ c ^ d;
            end
        end
    endgenerate
    always @(posedge clk)
        if (enable) next <= mixed ^ round_key;
endmodule
