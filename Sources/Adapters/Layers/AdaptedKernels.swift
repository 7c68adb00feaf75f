import Layers
import Tensors

/// What one adapter does to one convolution.
protocol ConvolutionAdapter: PartAdapter {
  /// What the convolution returns instead of y.
  ///
  /// - Parameters:
  ///   - y: `[batch, out, length'...]`.
  ///   - x: `[batch, in, length...]`.
  ///   - base: The layer's kernels.
  ///   - context: Whether dropout is on, and its generator.
  /// - Returns: `[batch, out, length'...]`, of y's type.
  func output(
    _ y: Tensor, input x: Tensor, base: any ConvolutionKernels, _ context: AdapterContext
  ) -> Tensor

  /// Does to kernels what the adapter does to the layer, without dropout.
  ///
  /// - Parameter layer: The kernels `[out, in, kernel...]` and bias so far.
  func merge(into layer: inout MergedLayer)

  /// Why the adapter cannot be merged into this convolution; nil when it can.
  ///
  /// - Parameter base: The layer's kernels.
  /// - Returns: What is wrong, for a message.
  func obstacle(toMergingInto base: any ConvolutionKernels) -> String?
}

extension ConvolutionAdapter {
  func obstacle(toMergingInto base: any ConvolutionKernels) -> String? { nil }
}

/// A method that can adapt convolutions.
protocol ConvolutionMethod: LayerMethod {
  /// Makes the adapter of one convolution.
  ///
  /// - Parameter site: The convolution.
  /// - Returns: The adapter, with its initial numbers.
  /// - Throws: ``AdapterError`` when the configuration does not fit it.
  func adapter(for site: ConvolutionSite) throws(AdapterError) -> any ConvolutionAdapter
}

/// A convolution that gets an adapter.
struct ConvolutionSite: InitialNumbers {
  /// The layer's path in the model.
  let path: String
  /// What the adapter is added to.
  let base: any ConvolutionKernels
  let generator: Generator
  var isLoading = false
  var wantedType: DType?

  var device: Device { base.weight.device }
  var baseDType: DType { base.weight.dtype }
}

/// Kernels with adapters.
final class AdaptedKernels: Adapted<any ConvolutionKernels, any ConvolutionAdapter>,
  ConvolutionKernels, AdaptedPart
{
  var steps: ConvolutionSteps { base.steps }
  var weight: Tensor { base.weight }
  var bias: Parameter? { base.bias }
  var children: [(name: String, module: any Module)] { [("base_layer", base)] }

  func mapParameters(_ transform: (String, Parameter) -> Parameter) {
    mapAdapterParameters(transform)
  }

  func callAsFunction(_ x: Tensor) -> Tensor {
    guard context.isEnabled, context.rowAdapters == nil else { return original(x) }
    let acting = acting
    let changes = acting.compactMap { $0 as? any KernelAdapter }
    return acting.reduce(changes.isEmpty ? base(x) : changed(x, by: changes)) { y, adapter in
      adapter.output(y, input: x, base: base, context)
    }
  }

  /// The convolution with kernels that some adapters change, one after the other.
  private func changed(_ x: Tensor, by changes: [any KernelAdapter]) -> Tensor {
    let wide = DType.computing(base.weight.dtype)
    var layer = MergedLayer(weight: base.weight.to(wide), bias: base.bias?.value.to(wide))
    for change in changes { change.change(&layer, context) }
    let type = DType.computing(x.dtype, layer.weight.dtype)
    let kernels = DenseKernels(
      weight: Parameter(layer.weight.to(type)),
      bias: layer.bias.map { Parameter($0.to(type)) }, steps: steps)
    return kernels(x.to(type)).to(x.dtype)
  }

  func obstacle(toMerging name: String) -> String? {
    adapter(name)?.obstacle(toMergingInto: base)
  }

  func merging(_ names: [String], requantizing: Bool) -> MergedPart {
    withoutGradients {
      let dense = base.weight.detached()
      let wide = DType.computing(dense.dtype)
      var layer = MergedLayer(
        weight: dense.to(wide).cloned(),
        bias: base.bias.map { $0.value.detached().to(wide).cloned() })
      // Those that change kernels act before those that add to outputs, as above.
      let adapters = names.compactMap(adapter)
      for adapter in adapters where adapter is any KernelAdapter { adapter.merge(into: &layer) }
      for adapter in adapters where !(adapter is any KernelAdapter) { adapter.merge(into: &layer) }
      let (weight, bias) = (layer.weight.to(dense.dtype), layer.bias?.to(dense.dtype))
      let made = DenseKernels(
        weight: Parameter(weight), bias: bias.map(Parameter.init), steps: base.steps)
      return MergedPart(
        isFinite: weight.isAllFinite && bias?.isAllFinite != false,
        hold: { self.merge(names, as: made) })
    }
  }
}
