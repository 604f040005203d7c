# The accelerator on a ZCU104. NOT RUN HERE (no vendor tools); written to UG994 and UG835 (2023.2).
#
#   processing system --- M_AXI_HPM0_FPD ---> registers of the accelerator and of the DMA
#   accelerator gmem0, gmem1, gmem2 --------> S_AXI_HP0..HP2_FPD (instructions and operands; shares; material), 128 bit
#   accelerator to_peer, from_peer ---------> AXI DMA on S_AXI_HP3_FPD: the processor's network stack carries the messages
#
# A board with a 10G core in the fabric replaces the DMA by that core's streams; nothing else changes.

set out $::env(RRNET_OUT)
create_project -force rrnet_zcu104 $out/vivado -part $::env(RRNET_PART)
set_property board_part $::env(RRNET_BOARD) [current_project]
set_property ip_repo_paths $out/ip [current_project]
update_ip_catalog

create_bd_design system
set ps [create_bd_cell -type ip -vlnv xilinx.com:ip:zynq_ultra_ps_e ps]
apply_bd_automation -rule xilinx.com:bd_rule:zynq_ultra_ps_e -config {apply_board_preset 1} $ps
set_property -dict [list \
    CONFIG.PSU__FPGA_PL0_ENABLE {1} \
    CONFIG.PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ {200} \
    CONFIG.PSU__USE__M_AXI_GP0 {1} \
    CONFIG.PSU__USE__M_AXI_GP1 {0} \
    CONFIG.PSU__USE__S_AXI_GP2 {1} CONFIG.PSU__SAXIGP2__DATA_WIDTH {128} \
    CONFIG.PSU__USE__S_AXI_GP3 {1} CONFIG.PSU__SAXIGP3__DATA_WIDTH {128} \
    CONFIG.PSU__USE__S_AXI_GP4 {1} CONFIG.PSU__SAXIGP4__DATA_WIDTH {128} \
    CONFIG.PSU__USE__S_AXI_GP5 {1} CONFIG.PSU__SAXIGP5__DATA_WIDTH {128} \
    CONFIG.PSU__USE__IRQ0 {1}] $ps

set accelerator [create_bd_cell -type ip -vlnv rrnet:hls:rrnet_accelerator accelerator]
set dma [create_bd_cell -type ip -vlnv xilinx.com:ip:axi_dma dma]
set_property -dict [list CONFIG.c_include_sg {0} CONFIG.c_m_axi_mm2s_data_width {128} \
    CONFIG.c_m_axis_mm2s_tdata_width {128} CONFIG.c_m_axi_s2mm_data_width {128} \
    CONFIG.c_sg_length_width {26}] $dma

connect_bd_intf_net [get_bd_intf_pins accelerator/to_peer] [get_bd_intf_pins dma/S_AXIS_S2MM]
connect_bd_intf_net [get_bd_intf_pins dma/M_AXIS_MM2S] [get_bd_intf_pins accelerator/from_peer]

proc connect_master {master slave} {
    apply_bd_automation -rule xilinx.com:bd_rule:axi4 \
        -config [list Clk_master {/ps/pl_clk0} Clk_slave {/ps/pl_clk0} Clk_xbar {/ps/pl_clk0} \
            Master $master Slave $slave intc_ip {New AXI SmartConnect} master_apm 0] [get_bd_intf_pins $slave]
}
connect_master /accelerator/m_axi_gmem0 /ps/S_AXI_HP0_FPD
connect_master /accelerator/m_axi_gmem1 /ps/S_AXI_HP1_FPD
connect_master /accelerator/m_axi_gmem2 /ps/S_AXI_HP2_FPD
connect_master /dma/M_AXI_MM2S /ps/S_AXI_HP3_FPD
apply_bd_automation -rule xilinx.com:bd_rule:axi4 \
    -config {Clk_master {/ps/pl_clk0} Clk_slave {/ps/pl_clk0} Clk_xbar {/ps/pl_clk0} Master {/dma/M_AXI_S2MM} \
        Slave {/ps/S_AXI_HP3_FPD} intc_ip {/axi_smc_3} master_apm {0}} [get_bd_intf_pins dma/M_AXI_S2MM]
connect_master /ps/M_AXI_HPM0_FPD /accelerator/s_axi_control
connect_master /ps/M_AXI_HPM0_FPD /dma/S_AXI_LITE

set interrupts [create_bd_cell -type ip -vlnv xilinx.com:ip:xlconcat interrupts]
set_property CONFIG.NUM_PORTS 3 $interrupts
connect_bd_net [get_bd_pins accelerator/interrupt] [get_bd_pins interrupts/In0]
connect_bd_net [get_bd_pins dma/mm2s_introut] [get_bd_pins interrupts/In1]
connect_bd_net [get_bd_pins dma/s2mm_introut] [get_bd_pins interrupts/In2]
connect_bd_net [get_bd_pins interrupts/dout] [get_bd_pins ps/pl_ps_irq0]

assign_bd_address
validate_bd_design
save_bd_design
make_wrapper -files [get_files system.bd] -top -import
set_property top system_wrapper [current_fileset]
launch_runs impl_1 -to_step write_bitstream -jobs 4
wait_on_run impl_1
open_run impl_1
report_utilization -hierarchical -file $out/utilization.rpt
report_timing_summary -file $out/timing.rpt
write_hw_platform -fixed -include_bit -force $out/rrnet_zcu104.xsa
exit
