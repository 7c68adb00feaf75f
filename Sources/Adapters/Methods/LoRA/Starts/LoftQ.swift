import Layers
public import Tensors

extension PeftModel {
  /// Finds a LoRA's start "loftq": A and B that make up for what quantising W lost.
  ///
  /// The layers' bases are quantised already. A and B are the best approximation of W - Q, with
  /// s B A in its place whatever the scale s (PEFT takes s for 1). With more than one iteration the
  /// bases are quantised anew from W - s B A in their own format, and the adapter then fits only
  /// this model's base, not W quantised. Files say that the start was the standard one, as A and B
  /// are added to the base as it is.
  ///
  /// Source: Li et al. 2023, arXiv 2310.08659.
  ///
  /// - Parameters:
  ///   - name: Which adapter; nil for the first active one.
  ///   - weight: W of the layer at a path, `[outputSize, inputSize]`, before it was quantised.
  /// - Throws: ``AdapterError/impossible(method:what:)`` for another adapter,
  ///   ``AdapterError/configuration(field:expected:actual:)`` for a layer that is not quantised or a
  ///   W of another shape.
  public func startLoftQ(
    adapter name: String? = nil, weight: (_ path: String) throws -> Tensor
  ) throws {
    let placed = try adapter(named: name ?? context.active.first ?? "default")
    guard let config = placed.configuration as? LoRAConfig, config.initialization == .loftq else {
      throw AdapterError.impossible(
        method: type(of: placed.configuration).type, what: "started by LoftQ as they are configured"
      )
    }
    let iterations = (config.loftQ ?? LoftQConfig()).iterations
    for (path, projection, factors) in lowRankLayers(placed.name) {
      guard projection.base.storedCount > 0 else {
        throw AdapterError.configuration(
          field: "init_lora_weights \"loftq\" for \(path)", expected: "a quantised layer",
          actual: "a dense one")
      }
      let shape = [projection.outputSize, projection.inputSize]
      let w = try weight(path).detached().to(device: .cpu).to(factors.a.value.dtype)
      guard w.shape == shape else {
        throw AdapterError.configuration(
          field: "weight of \(path)", expected: "shape \(shape)", actual: "\(w.shape)")
      }
      withoutGradients {
        for iteration in 0..<iterations {
          if iteration > 0 {
            let rest = w - factors.delta().to(device: .cpu)
            projection.replaceBase(
              projection.base.replacing(
                weight: rest.to(projection.base.dtype).to(device: projection.device)))
          }
          let lost = w - projection.base.denseWeight().to(device: .cpu).to(w.dtype)
          let (u, s, vt) = lost.singularValueDecomposition()
          let range = 0..<factors.a.value.size(0)
          let (a, b) = balancedFactors(
            u.narrowed(1, range), s.narrowed(0, range), vt.narrowed(0, range), scale: factors.scale)
          setStart(factors, a: a, b: b)
        }
      }
    }
  }
}
