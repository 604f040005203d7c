"""The backbones that are searched: residual networks, VGG and MobileNets."""
