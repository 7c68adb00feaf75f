import CKernels
import Tensors

/// Keys and values in the orders that the kernels of attention read them in.
struct TurnedKeysAndValues {
  /// An order of one of them.
  enum Order {
    case keyColumns, keyRows, valueColumns, valueRows
  }

  /// What they lie in.
  let tensors: [Tensor]
  /// Those in bfloat16; nil for float32.
  let pairs: graft_attention_pairs?
}

extension FusedAttention {
  /// Keys and values in some orders; rows in float32 are read as they are.
  ///
  /// - Parameters:
  ///   - inputs: Query, key and value.
  ///   - orders: What is made.
  ///   - settings: Gets those in float32.
  /// - Returns: Them, which must live as long as a kernel reads them.
  func turned(
    _ inputs: [Tensor], _ orders: [TurnedKeysAndValues.Order], for settings: inout graft_attention
  ) -> TurnedKeysAndValues {
    guard !rounds else { return packed(orders, settings) }
    var tensors: [Tensor] = []
    if orders.contains(.keyColumns) {
      tensors.append(columns(inputs[1]))
      settings.key_columns = UnsafePointer(tensors[0].elements(Float.self))
    }
    if orders.contains(.valueColumns) {
      let values = columns(inputs[2])
      settings.value_columns = UnsafePointer(values.elements(Float.self))
      tensors.append(values)
    }
    return TurnedKeysAndValues(tensors: tensors, pairs: nil)
  }

  /// Of a head the positions beside each other, `[B, K, D, padded]`.
  private func columns(_ x: Tensor) -> Tensor {
    let padded = paddedLength
    let result = Tensor.empty([batch, groups, size, padded], dtype: .float32)
    let (strides, groups, keyLength, size) = (strides(x), groups, keyLength, size)
    let memory = TurnedMemory(from: x.firstElement(), to: result.elements())
    withScope(.kernel, "attention_turn") {
      Runtime.parallelFor(0..<batch * groups, grain: 1) { range in
        graft_attention_turn(
          memory.from, strides, Int64(groups), Int64(keyLength), Int64(padded), Int64(size),
          Int64(range.lowerBound), Int64(range.upperBound), memory.to)
      }
    }
    withExtendedLifetime((x, result)) {}
    return result
  }

  /// Pairs of neighbours in bfloat16, int32 `[B, K, size * padded / 2]` for each order.
  private func packed(
    _ orders: [TurnedKeysAndValues.Order], _ settings: graft_attention
  ) -> TurnedKeysAndValues {
    var pairs = graft_attention_pairs()
    let tensors = orders.map { order in
      let tensor = Tensor.empty([batch, groups, size * paddedLength / 2], dtype: .int32)
      let memory = tensor.elements(UInt32.self)
      switch order {
      case .keyColumns: pairs.key_columns = memory
      case .keyRows: pairs.key_rows = memory
      case .valueColumns: pairs.value_columns = memory
      case .valueRows: pairs.value_rows = memory
      }
      return tensor
    }
    let call = AttentionCall(settings, pairs)
    withScope(.kernel, "attention_turn") {
      Runtime.parallelFor(0..<batch * groups, grain: 1) { range in call.pack(range) }
    }
    return TurnedKeysAndValues(tensors: tensors, pairs: pairs)
  }
}

/// Memory of which parts are read and written by different threads.
private struct TurnedMemory: @unchecked Sendable {
  let from: UnsafeMutablePointer<Float>
  let to: UnsafeMutablePointer<Float>
}

/// A call of the kernels, in float32 or bfloat16, whose parts write to different memory.
struct AttentionCall: @unchecked Sendable {
  private let settings: graft_attention
  private let pairs: graft_attention_pairs?

  init(_ settings: graft_attention, _ pairs: graft_attention_pairs?) {
    self.settings = settings
    self.pairs = pairs
  }

  /// Queries of a unit of the forward pass.
  var chunk: Int {
    Int(pairs == nil ? graft_attention_chunk() : graft_bfloat16_attention_chunk())
  }

  func pack(_ range: Range<Int>) {
    guard let pairs else { return }
    withUnsafePointer(to: settings) {
      graft_bfloat16_attention_pack($0, pairs, Int64(range.lowerBound), Int64(range.upperBound))
    }
  }

  func forward(_ range: Range<Int>) {
    let (first, end) = (Int64(range.lowerBound), Int64(range.upperBound))
    withUnsafePointer(to: settings) { settings in
      if let pairs {
        graft_bfloat16_attention_forward(settings, pairs, first, end)
      } else {
        graft_attention_forward(settings, first, end)
      }
    }
  }

  func backward(_ range: Range<Int>) {
    let (first, end) = (Int64(range.lowerBound), Int64(range.upperBound))
    withUnsafePointer(to: settings) { settings in
      if let pairs {
        graft_bfloat16_attention_backward(settings, pairs, first, end)
      } else {
        graft_attention_backward(settings, first, end)
      }
    }
  }
}
