#include "crc.h"

int crc_available(void) { return CRC_AVAILABLE; }

#if CRC_AVAILABLE
uint32_t checksum_octets(const uint8_t *octets, int64_t count, uint32_t before) {
    return crc_octets(octets, count, before);
}
#endif
