// The part of the vendor's hls_stream.h that the accelerator uses, for a plain C++ compiler: an unbounded queue.
#ifndef RRNET_SHIM_HLS_STREAM_H
#define RRNET_SHIM_HLS_STREAM_H

#include <cstddef>
#include <deque>

namespace hls {

template <typename T>
class stream {
  public:
    bool empty() const { return items.empty(); }
    std::size_t size() const { return items.size(); }
    void write(const T& item) { items.push_back(item); }
    // On the fabric this waits for a word; nothing in C simulation calls it.
    void read(T& item) {
        item = items.front();
        items.pop_front();
    }
    // False where there is nothing to read.
    bool read_nb(T& item) {
        if (items.empty()) return false;
        item = items.front();
        items.pop_front();
        return true;
    }

  private:
    std::deque<T> items;
};

}  // namespace hls

#endif
