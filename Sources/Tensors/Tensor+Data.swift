import CTorch

extension Tensor {
  /// Copies elements into a new tensor on the processor.
  ///
  /// - Parameters:
  ///   - elements: The elements in row-major order.
  ///   - shape: Size of each dimension; nil for one dimension. The sizes multiply to
  ///     `elements.count`.
  public convenience init<Element: TensorElement>(_ elements: [Element], shape: [Int]? = nil) {
    let shape = shape ?? [elements.count]
    precondition(
      shape.reduce(1, *) == elements.count,
      "Tensor: \(elements.count) elements do not fill the shape \(shape)")
    let made = Tensor.empty(shape, dtype: Element.dtype)
    elements.withUnsafeBytes { source in
      made.withUnsafeMutableBytes { $0.copyMemory(from: source) }
    }
    self.init(owning: withExtendedLifetime(made) { ctorch_retain(made.handle) })
  }

  /// A tensor over memory that somebody else owns, without copying.
  ///
  /// - Parameters:
  ///   - pointer: The first element, aligned for `dtype`, in row-major order.
  ///   - shape: Size of each dimension.
  ///   - dtype: Element type.
  ///   - owner: Kept alive as long as the memory is in use by any tensor.
  /// - Returns: A tensor on the processor that aliases the memory. Writing to it writes there; a
  ///   read-only mapping must not be written to.
  public static func aliasing(
    _ pointer: UnsafeRawPointer, shape: [Int], dtype: DType, owner: AnyObject
  ) -> Tensor {
    let sizes = shape.map { Int64($0) }
    var result: ctorch_tensor?
    let status = ctorch_from_memory(
      UnsafeMutableRawPointer(mutating: pointer), sizes, Int32(sizes.count), dtype.rawValue,
      Unmanaged.passRetained(owner).toOpaque(),
      { context in
        if let context { Unmanaged<AnyObject>.fromOpaque(context).release() }
      }, &result)
    guard status == 0, let result else {
      fatalError("Tensor.aliasing(shape: \(shape), dtype: \(dtype)): \(lastTorchError())")
    }
    return Tensor(owning: result)
  }

  /// The elements in row-major order, copied to the processor.
  ///
  /// - Parameter type: Element type; the tensor is converted when its own is another.
  /// - Returns: `count` elements.
  public func array<Element: TensorElement>(of type: Element.Type = Element.self) -> [Element] {
    let source = detached().to(device: .cpu).to(Element.dtype).contiguous()
    let count = count
    return [Element](unsafeUninitializedCapacity: count) { buffer, written in
      source.withUnsafeBytes { bytes in
        UnsafeMutableRawBufferPointer(buffer).copyMemory(from: bytes)
      }
      written = count
    }
  }

  /// The only element, as a Double.
  ///
  /// - Returns: The element, converted.
  /// - Precondition: `count == 1`.
  public func item() -> Double {
    precondition(count == 1, "item: a tensor of shape \(shape) has \(count) elements")
    return array(of: Double.self)[0]
  }

  /// Calls `body` with the elements' memory.
  ///
  /// - Parameter body: Gets `byteCount` bytes in row-major order, valid during the call.
  /// - Returns: What `body` returns.
  /// - Precondition: The tensor is on the processor and contiguous.
  public func withUnsafeBytes<Result>(
    _ body: (UnsafeRawBufferPointer) throws -> Result
  ) rethrows -> Result {
    let pointer = cpuPointer("withUnsafeBytes")
    defer { withExtendedLifetime(self) {} }
    return try body(UnsafeRawBufferPointer(start: pointer, count: byteCount))
  }

  /// Calls `body` with the elements' memory for writing.
  ///
  /// - Parameter body: Gets `byteCount` bytes in row-major order, valid during the call.
  /// - Returns: What `body` returns.
  /// - Precondition: The tensor is on the processor, contiguous, and not over read-only memory.
  public func withUnsafeMutableBytes<Result>(
    _ body: (UnsafeMutableRawBufferPointer) throws -> Result
  ) rethrows -> Result {
    let pointer = cpuPointer("withUnsafeMutableBytes")
    defer { withExtendedLifetime(self) {} }
    return try body(UnsafeMutableRawBufferPointer(start: pointer, count: byteCount))
  }

  private func cpuPointer(_ caller: StaticString) -> UnsafeMutableRawPointer? {
    precondition(isContiguous, "\(caller): the tensor \(shape) is not contiguous")
    return firstElement(caller)
  }

  func firstElement(_ caller: StaticString) -> UnsafeMutableRawPointer? {
    var pointer: UnsafeMutableRawPointer?
    check(ctorch_cpu_data(handle, &pointer), "\(caller)")
    return pointer
  }
}
