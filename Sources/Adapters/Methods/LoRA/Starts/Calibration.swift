import Layers
public import Tensors

/// A batch of data from which an adapter's start is found.
public struct CalibrationBatch {
  /// Which positions count, bool or 0 and 1, `[batch, length]`; nil for all.
  public let positions: Tensor?
  /// Labels, `[batch, length]`, not shifted; nil for none.
  public let labels: Tensor?
  /// Which positions of a decoder behind an encoder count, `[batch, targets]`; nil for other models.
  ///
  /// Layers that read the decoder's positions are known by their number, which has to differ from that
  /// of `positions`.
  public let decoderPositions: Tensor?
  /// Runs the model on the batch and returns its mean loss, a scalar.
  public let loss: () -> Tensor

  /// Makes a batch.
  ///
  /// - Parameters:
  ///   - positions: Which positions count, `[batch, length]`; nil for all.
  ///   - labels: Labels, `[batch, length]`; nil for none.
  ///   - decoderPositions: Which positions of a decoder behind an encoder count; nil for other models.
  ///   - loss: Runs the model on the batch and returns its mean loss, a scalar.
  public init(
    positions: Tensor? = nil, labels: Tensor? = nil, decoderPositions: Tensor? = nil,
    loss: @escaping () -> Tensor
  ) {
    precondition(
      decoderPositions.map { $0.count != positions?.count } ?? true,
      "CalibrationBatch: encoder and decoder have the same number of positions")
    self.positions = positions
    self.labels = labels
    self.decoderPositions = decoderPositions
    self.loss = loss
  }
}

extension LoRAConfig {
  /// Whether A and B start from data, by ``PeftModel/calibrate(_:adapter:)``.
  public var needsCalibration: Bool { initialization.isFromData }
}

extension PeftModel {
  /// Finds a LoRA's start from data: for the initialisations "eva", "corda" and "lora_ga".
  ///
  /// Until then such an adapter does nothing, as one with the standard start. To be called before
  /// training, while the adapter acts and is trainable.
  ///
  /// - Parameters:
  ///   - batches: At least one. EVA goes over them until its components stand still, at most ten
  ///     times.
  ///   - name: Which adapter; nil for the first active one.
  /// - Throws: ``AdapterError/impossible(method:what:)`` for another adapter,
  ///   ``AdapterError/configuration(field:expected:actual:)`` when the data or a layer's shape does
  ///   not do.
  public func calibrate(
    _ batches: [CalibrationBatch], adapter name: String? = nil
  ) throws(AdapterError) {
    let placed = try self.adapter(named: name ?? context.active.first ?? "default")
    let type = type(of: placed.configuration).type
    guard let config = placed.configuration as? LoRAConfig, config.needsCalibration else {
      throw .impossible(method: type, what: "calibrated, as its start does not depend on data")
    }
    guard !batches.isEmpty else {
      throw .configuration(field: "calibration batches", expected: "at least one", actual: "none")
    }
    guard context.active == [placed.name],
      placed.parameters.contains(where: { $0.own.parameter.isTrainable })
    else { throw .conflict("\(placed.name) has to act alone and be trainable to be calibrated") }
    let training = context.isTraining
    context.isTraining = false
    defer {
      context.observe = nil
      context.isTraining = training
      for (_, own) in placed.parameters { own.parameter.value.gradient = nil }
    }
    switch config.initialization {
    case .eva: try startEVA(placed, config, batches)
    case .corda: try startCorDA(placed, config, batches)
    default: try startLoRAGA(placed, config, batches)
    }
  }

  /// Calls `use` with what each layer of an adapter gets, as rows, in one pass without gradients.
  func observeInputs(
    _ batch: CalibrationBatch, positions: Tensor? = nil,
    _ use: @escaping (_ layer: ObjectIdentifier, _ rows: Tensor) -> Void
  ) {
    let chosen = [positions, batch.decoderPositions].compactMap { $0 }.map { mask in
      (count: mask.count, places: (mask.reshaped([-1]) .!= 0).nonzeroIndices().reshaped([-1]))
    }
    context.observe = { layer, x, y in
      let rows = x.detached().rows().to(.computing(x.dtype))
      let own = chosen.first { $0.count == rows.size(0) }?.places
      use(ObjectIdentifier(layer), own.map { rows.selecting(0, $0) } ?? rows)
      return y
    }
    withoutGradients { _ = batch.loss() }
    context.observe = nil
  }

  /// Replaces a layer's start, where the base is to lack it.
  func setStart(_ factors: LoRAFactors, a: Tensor, b: Tensor) {
    func put(_ value: Tensor, _ parameter: Parameter) {
      let old = parameter.value
      parameter.replaceValue(value.to(old.dtype).to(device: old.device).contiguous().cloned())
    }
    put(a, factors.a)
    put(b, factors.b)
    if let start = factors.start {
      put(a, start.a)
      put(b, start.b)
    }
  }
}
