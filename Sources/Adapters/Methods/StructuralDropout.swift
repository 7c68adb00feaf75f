import Tensors

/// Dropout of a whole update or of whole rows of it, as LyCORIS has it.
struct StructuralDropout {
  /// Share of the calls in which the whole update is left out.
  let module: Double
  /// Share of the update's rows, that is of outputs, that are left out.
  let rows: Double
  /// Whether the rows that stay are scaled up for those that do not.
  let rescales: Bool

  /// What multiplies each output of the update in one call; nil for ones.
  ///
  /// Where PEFT 0.21.2 divides by the share of rows that stay, which gives NaN when none does, the
  /// update is zero then.
  ///
  /// - Parameters:
  ///   - count: How many outputs.
  ///   - update: The update, for its type and device.
  ///   - context: Whether dropout is on, and its generator.
  /// - Returns: `[count]`, or `[1]` of a zero when the whole update is left out.
  func factors(_ count: Int, like update: Tensor, _ context: AdapterContext) -> Tensor? {
    guard context.isTraining, module > 0 || rows > 0 else { return nil }
    func kept(_ count: Int, _ share: Double) -> Tensor {
      (Tensor.randomUniform([count], device: update.device, generator: context.generator) .> share)
        .to(update.dtype)
    }
    // Multiplied by zero rather than left out: a loss may depend on nothing else that is trained.
    let whole = module > 0 ? kept(1, module) : nil
    guard rows > 0 else { return whole }
    var some = kept(count, rows)
    if rescales { some = some / some.mean().clamped(lower: 1 / Double(count)) }
    return whole.map { some * $0 } ?? some
  }
}
