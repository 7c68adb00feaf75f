// LibTorch's place comes from the pkg-config file that scripts/bootstrap writes. Its C++ headers
// are included by CTorch's sources only; nothing of them is visible to Swift.
