import Layers
import Models
import Quantization
public import Tensors

extension LossModel {
  /// Decides what type a model over a quantised base multiplies numbers in.
  ///
  /// These are the products of its loss that are not of whole numbers: those with 4-bit layers, of
  /// attention, and with the head. Their sums are float32.
  ///
  /// Without quantised layers nothing is changed, nor on processors that do not multiply bfloat16.
  ///
  /// - Parameter type: float32 or bfloat16.
  public func setComputeType(_ type: DType) {
    let all = modules().map(\.module)
    let isQuantized = all.contains {
      ($0 as? Linear)?.projection is any QuantizedProjection || $0 is any QuantizedProjection
    }
    guard isQuantized else { return }
    setFourBitProductTypes(type)
    for module in all {
      (module as? DecoderForCausalLM)?.lossProductType = type
      (module as? DecoderModel)?.attentionProductType = type
    }
  }
}
