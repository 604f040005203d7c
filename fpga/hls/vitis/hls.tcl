# Vitis HLS on the accelerator. NOT RUN HERE (no vendor tools); written to UG1399 (2023.2).
# Called by the Makefile beside it, which sets RRNET_STEP, RRNET_PART, RRNET_PERIOD, RRNET_OUT, RRNET_VECTORS and RRNET_PARTY.

set here [file dirname [file normalize [info script]]]
set source $here/../src
set testbench $here/../testbench
set step $::env(RRNET_STEP)
# ap_int, ap_axi_sdata and hls_stream are the vendor's here: the shim in testbench/ is for g++ alone and not on the path.
set flags "-std=c++14 -I$source -I$here/.. -I$::env(RRNET_OUT)"

open_project -reset rrnet
set_top rrnet_accelerator
if {$step in {csim cosim}} {
    if {![file isdirectory $::env(RRNET_VECTORS)]} {
        puts stderr "VECTORS does not name a directory of recorded files"
        exit 2
    }
    # Co-simulation hands over this many bus words behind each port: all of each file, one at least.
    foreach {macro name} {INSTRUCTION instructions OPERAND operands MEMORY memory MATERIAL material} {
        set words [expr {max(1, ([file size $::env(RRNET_VECTORS)/$name.bin] + 15) / 16)}]
        append flags " -DRRNET_${macro}_WORDS=$words"
    }
    foreach file {main.cpp pipes.cpp} {
        add_files -tb $testbench/$file -cflags $flags
    }
}
foreach file [lsort [glob $source/*.cpp]] {
    add_files $file -cflags $flags
}

open_solution -reset -flow_target vivado solution
set_part $::env(RRNET_PART)
create_clock -period $::env(RRNET_PERIOD) -name default
set_clock_uncertainty 12.5%
config_interface -m_axi_addr64 -m_axi_max_widen_bitwidth 128 -m_axi_alignment_byte_size 16
config_compile -pipeline_style frp
config_rtl -reset control

switch $step {
    csim {
        csim_design -argv "$::env(RRNET_PARTY) $::env(RRNET_VECTORS)"
    }
    csynth {
        csynth_design
    }
    cosim {
        csynth_design
        cosim_design -rtl verilog -trace_level port -argv "$::env(RRNET_PARTY) $::env(RRNET_VECTORS)"
    }
    export {
        csynth_design
        export_design -rtl verilog -format ip_catalog -vendor rrnet -library hls -ipname rrnet_accelerator \
            -version 1.0 -output $::env(RRNET_OUT)/rrnet_accelerator.zip
        file mkdir $::env(RRNET_OUT)/ip
        exec unzip -q -o $::env(RRNET_OUT)/rrnet_accelerator.zip -d $::env(RRNET_OUT)/ip
    }
    default {
        puts stderr "unknown step $step: csim, csynth, cosim or export"
        exit 2
    }
}
exit
