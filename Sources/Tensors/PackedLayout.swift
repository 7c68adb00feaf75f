/// Where tensors lie one behind another in one piece of memory, each in its own order of elements.
///
/// The order is kept because products of a matrix that lies by columns round otherwise than those of
/// one that lies by rows.
package struct PackedLayout {
  /// Where a tensor begins is a multiple of so many bytes, which suits every kernel.
  package static let alignment = 64

  private struct Place {
    let tensor: Tensor
    let offset: Int
    /// Dimensions as they lie in memory.
    let order: [Int]
  }

  private let places: [Place]
  /// Bytes of all, a multiple of ``alignment``.
  package let byteCount: Int

  /// Puts tensors one behind another.
  ///
  /// - Parameter tensors: On the processor.
  package init(_ tensors: [Tensor]) {
    var (places, offset) = ([Place](), 0)
    for tensor in tensors {
      let order = tensor.memoryOrder ?? Array(0..<tensor.rank)
      places.append(Place(tensor: tensor, offset: offset, order: order))
      offset += (tensor.byteCount + Self.alignment - 1) / Self.alignment * Self.alignment
    }
    self.places = places
    byteCount = offset
  }

  /// Copies a range of the bytes.
  ///
  /// - Parameters:
  ///   - range: Bytes of the whole, possibly beyond its end.
  ///   - destination: As long as the range; what belongs to no tensor is left as it is.
  package func copyBytes(_ range: Range<Int>, to destination: UnsafeMutableRawBufferPointer) {
    for place in places {
      let own = (place.offset..<place.offset + place.tensor.byteCount).clamped(to: range)
      guard !own.isEmpty else { continue }
      place.tensor.permuted(place.order).contiguous().withUnsafeBytes { bytes in
        let part = bytes[(own.lowerBound - place.offset)..<(own.upperBound - place.offset)]
        UnsafeMutableRawBufferPointer(
          rebasing: destination[(own.lowerBound - range.lowerBound)...]
        ).copyMemory(from: UnsafeRawBufferPointer(rebasing: part))
      }
    }
  }

  /// Lets each tensor take its place in new memory, which has its bytes already or will get them.
  ///
  /// - Parameter memory: Makes a tensor over the new memory, of which it gets the first byte.
  package func move(to memory: (_ offset: Int, _ shape: [Int], _ dtype: DType) -> Tensor) {
    for place in places {
      let shape = place.tensor.shape
      let lying = memory(place.offset, place.order.map { shape[$0] }, place.tensor.dtype)
      var back = place.order
      for (position, dimension) in place.order.enumerated() { back[dimension] = position }
      place.tensor.takeMemory(of: lying.permuted(back))
    }
  }
}
