import CTorch

extension Tensor {
  /// Whether operators record how this tensor is used, so that it gets a gradient.
  ///
  /// Can be set on leaves only.
  public var requiresGradient: Bool {
    get { ctorch_requires_gradient(handle) }
    set { check(ctorch_set_requires_gradient(handle, newValue), "requiresGradient") }
  }

  /// Whether this tensor was made by the user and not by a recorded operator.
  public var isLeaf: Bool { ctorch_is_leaf(handle) }

  /// The gradient that `backward` accumulated, or nil.
  public var gradient: Tensor? {
    get { ctorch_gradient(handle).map(Tensor.init(owning:)) }
    set {
      let status = ctorch_set_gradient(handle, newValue?.handle)
      withExtendedLifetime(newValue) {}
      check(status, "gradient")
    }
  }

  /// Adds the derivative of this tensor to the gradient of every leaf that it came from.
  ///
  /// - Parameters:
  ///   - gradient: Derivative of the final quantity with respect to this tensor; nil means one and
  ///     needs a tensor of one element.
  ///   - keepGraph: Whether the graph may be gone through again. Otherwise its memory is freed.
  public func backward(gradient: Tensor? = nil, keepGraph: Bool = false) {
    let status = ctorch_backward([handle], [gradient?.handle], 1, keepGraph)
    withExtendedLifetime((self, gradient)) {}
    check(status, "backward of a tensor of shape \(shape)")
  }

  /// Derivatives of this tensor with respect to some tensors, without accumulating.
  ///
  /// - Parameters:
  ///   - inputs: Tensors that this one came from.
  ///   - gradient: Derivative of the final quantity with respect to this tensor; nil means one.
  ///   - keepGraph: Whether the graph may be gone through again.
  ///   - createGraph: Whether the derivatives can be differentiated again.
  /// - Returns: One entry for each input; nil where this tensor does not depend on it.
  public func gradients(
    of inputs: [Tensor], gradient: Tensor? = nil, keepGraph: Bool = false,
    createGraph: Bool = false
  ) -> [Tensor?] {
    var results = [ctorch_tensor?](repeating: nil, count: inputs.count)
    let status = ctorch_gradients(
      [handle], [gradient?.handle], 1, inputs.map(\.handle), Int32(inputs.count),
      keepGraph || createGraph, createGraph, &results)
    withExtendedLifetime((self, inputs, gradient)) {}
    check(status, "gradients of a tensor of shape \(shape)")
    return results.map { $0.map(Tensor.init(owning:)) }
  }
}

extension Tensor {
  /// Derivatives of several tensors at once, without storing anything in `gradient`.
  ///
  /// - Parameters:
  ///   - outputs: Tensors that came from the inputs, or did not.
  ///   - gradients: For each of them the derivative of the final quantity with respect to it; nil for
  ///     zero.
  ///   - inputs: Tensors that they came from.
  /// - Returns: One entry for each input; nil where nothing depends on it.
  public static func gradients(
    of outputs: [Tensor], _ gradients: [Tensor?], withRespectTo inputs: [Tensor]
  ) -> [Tensor?] {
    let pairs = zip(outputs, gradients).compactMap { output, gradient in
      gradient.flatMap { output.requiresGradient ? (output: output, gradient: $0) : nil }
    }
    var results = [ctorch_tensor?](repeating: nil, count: inputs.count)
    guard !pairs.isEmpty, !inputs.isEmpty else { return inputs.map { _ in nil } }
    let status = ctorch_gradients(
      pairs.map(\.output.handle), pairs.map(\.gradient.handle), Int32(pairs.count),
      inputs.map(\.handle), Int32(inputs.count), false, false, &results)
    withExtendedLifetime((pairs, inputs)) {}
    check(status, "gradients of \(pairs.count) tensors")
    return results.map { $0.map(Tensor.init(owning:)) }
  }
}

/// Runs `body` without recording operators for gradients.
///
/// - Parameter body: What to run, on this thread.
/// - Returns: What `body` returns.
public func withoutGradients<Result>(_ body: () throws -> Result) rethrows -> Result {
  try withGradientMode(false, body)
}

/// Runs `body` while recording operators for gradients, also inside `withoutGradients`.
///
/// - Parameter body: What to run, on this thread.
/// - Returns: What `body` returns.
public func withGradients<Result>(_ body: () throws -> Result) rethrows -> Result {
  try withGradientMode(true, body)
}

/// Whether operators are being recorded for gradients on this thread.
public var isRecordingGradients: Bool { ctorch_gradient_mode() }

private func withGradientMode<Result>(
  _ enabled: Bool, _ body: () throws -> Result
) rethrows -> Result {
  let previous = ctorch_gradient_mode()
  ctorch_set_gradient_mode(enabled)
  defer { ctorch_set_gradient_mode(previous) }
  return try body()
}
