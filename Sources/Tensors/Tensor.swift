package import CTorch

/// A multi-dimensional array of numbers on a device, with automatic lifetime and gradients.
///
/// A `Tensor` is a reference to LibTorch's tensor; it is released with the last Swift reference.
/// Operators return new tensors; those named `...InPlace` change their receiver. A wrong shape or
/// dtype is a programmer's error and traps with a message that names the operator and its arguments.
///
/// Tensors may be passed between threads. Changing one in place while another thread reads it is a
/// race, as it is for LibTorch.
public final class Tensor: @unchecked Sendable {  // LibTorch's reference count is atomic.
  package let handle: ctorch_tensor

  init(owning handle: ctorch_tensor) { self.handle = handle }

  deinit { ctorch_release(handle) }

  /// Size of each dimension, outermost first.
  public var shape: [Int] {
    let count = Int(ctorch_dim(handle))
    if count == 0 { return [] }
    let sizes = [Int64](unsafeUninitializedCapacity: count) { buffer, written in
      guard let base = buffer.baseAddress else { return }
      ctorch_sizes(handle, base)
      written = count
    }
    return sizes.map { Int($0) }
  }

  /// Elements between neighbours of each dimension in memory.
  public var strides: [Int] {
    let count = Int(ctorch_dim(handle))
    if count == 0 { return [] }
    let strides = [Int64](unsafeUninitializedCapacity: count) { buffer, written in
      guard let base = buffer.baseAddress else { return }
      ctorch_strides(handle, base)
      written = count
    }
    return strides.map { Int($0) }
  }

  /// Number of dimensions.
  public var rank: Int { Int(ctorch_dim(handle)) }

  /// Number of elements.
  public var count: Int { Int(ctorch_element_count(handle)) }

  /// Bytes that the elements take when they are contiguous.
  public var byteCount: Int { count * dtype.byteCount }

  /// Element type.
  public var dtype: DType {
    let code = ctorch_dtype(handle)
    guard let dtype = DType(rawValue: code) else {
      preconditionFailure("LibTorch element type \(code) is not one that Graft knows")
    }
    return dtype
  }

  /// Where the elements live.
  public var device: Device { Device(code: ctorch_device(handle)) }

  /// Whether elements lie in row-major order without gaps.
  public var isContiguous: Bool { ctorch_is_contiguous(handle) }

  /// Size of one dimension.
  ///
  /// - Parameter dimension: Index of the dimension; negative ones count from the last.
  /// - Returns: The number of elements along it.
  public func size(_ dimension: Int) -> Int {
    let shape = shape
    return shape[dimension < 0 ? dimension + shape.count : dimension]
  }

  /// Whether two tensors look at the same memory.
  ///
  /// - Parameter other: The other tensor.
  /// - Returns: True when a change of one in place can be seen in the other.
  public func sharesStorage(with other: Tensor) -> Bool {
    ctorch_shares_storage(handle, other.handle)
  }
}

extension Tensor: CustomStringConvertible {
  /// Element type, shape and device; the elements too when there are at most 16.
  public var description: String {
    let head = "Tensor(\(dtype)\(shape)\(device == .cpu ? "" : ", \(device)"))"
    guard count <= 16, device.kind != .meta, dtype.isFloatingPoint || dtype == .int64 else {
      return head
    }
    return head + " \(to(.float64).array(of: Double.self))"
  }
}
