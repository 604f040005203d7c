// The part of the vendor's ap_axi_sdata.h that the accelerator uses, for a plain C++ compiler: a word of an AXI4 stream.
#ifndef RRNET_SHIM_AP_AXI_SDATA_H
#define RRNET_SHIM_AP_AXI_SDATA_H

#include <ap_int.h>

template <int Data, int User, int Id, int Destination>
struct ap_axiu {
    ap_uint<Data> data;
    uint16_t keep = 0, strb = 0;
    bool last = false;
};

#endif
