import Layers
import Models
import Quantization
public import Tensors

extension LossModel {
  /// Decides what type a model multiplies numbers in where that need not be float32.
  ///
  /// Sums are float32. Over a quantised base these are the products of its loss that are not of whole
  /// numbers: those with 4-bit layers, of attention, and with the head. Where gradients pass layers in
  /// whole numbers, most of the head's gradient does so too; and where the layers' own products are of
  /// whole numbers, the head's scores are (``LossProducts``). Without quantised layers it is the part of
  /// the head's gradient that ``LossProducts/roundedRest`` says. Processors that do not multiply bfloat16
  /// take float32 in its place.
  ///
  /// - Parameter type: float32 or bfloat16; int8 for products of 4-bit layers in whole numbers and the
  ///   others in bfloat16.
  public func setComputeType(_ type: DType) {
    let all = modules().map(\.module)
    let quantized = all.compactMap {
      ($0 as? Linear)?.projection as? any QuantizedProjection ?? $0 as? any QuantizedProjection
    }
    let isQuantized = !quantized.isEmpty
    if isQuantized { setFourBitProductTypes(type) }
    let isRounded = type != .float32
    let hasOnlyWholeNumbers = type == .int8 || !quantized.contains { $0 is Linear4bit }
    for module in all {
      if isQuantized {
        (module as? DecoderModel)?.attentionProductType = isRounded ? .bfloat16 : .float32
      }
      (module as? DecoderForCausalLM)?.lossProducts =
        if !isRounded {
          .float32
        } else if isQuantized {
          if !quantized.allSatisfy(\.roundsGradients) {
            .bfloat16
          } else {
            hasOnlyWholeNumbers ? .wholeNumbers : .wholeNumberRest
          }
        } else {
          .roundedRest
        }
    }
  }
}
