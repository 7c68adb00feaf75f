import Tensors

/// Tensors put one behind another into a few long ones, so that few messages carry them.
///
/// A bucket holds tensors of one type. Each begins at a multiple of 256 elements, a block of the codes of
/// optimisers' states, and the bucket's length is filled up with zeros to a multiple of 256 times the number
/// of processes, so that it can be shared out without cutting a block.
struct FlatBuckets {
  static let alignment = 256
  /// Bytes of a bucket.
  static let limit = 32 << 20

  /// Where a tensor lies.
  struct Place {
    let index: Int
    let start: Int
    let shape: [Int]
    var count: Int { shape.reduce(1, *) }
  }

  /// One bucket.
  struct Bucket {
    let dtype: DType
    /// The block of the model that its tensors are in, of several the lowest; nil for none.
    let block: Int?
    var places: [Place] = []
    /// Elements, with those that fill it up.
    var count = 0
  }

  let buckets: [Bucket]

  /// Shares tensors out.
  ///
  /// - Parameters:
  ///   - tensors: Of any floating-point types.
  ///   - parts: Processes that share a bucket.
  ///   - blocks: For each tensor the block that it is in, or the lowest of those that share buckets; a
  ///     bucket holds tensors of the same one only. Empty for none.
  ///   - limit: Bytes of a bucket; only one that holds a single tensor may be longer.
  init(_ tensors: [Tensor], parts: Int, blocks: [Int?] = [], limit: Int = FlatBuckets.limit) {
    struct Kind: Hashable {
      let dtype: DType
      let block: Int?
    }
    var buckets: [Bucket] = []
    var open: [Kind: Int] = [:]
    for (index, tensor) in tensors.enumerated() {
      let dtype = tensor.dtype
      let kind = Kind(dtype: dtype, block: blocks.isEmpty ? nil : blocks[index])
      if let current = open[kind],
        (buckets[current].count + tensor.count) * dtype.byteCount > limit
      {
        open[kind] = nil
      }
      let bucket = open[kind] ?? buckets.count
      if bucket == buckets.count { buckets.append(Bucket(dtype: dtype, block: kind.block)) }
      open[kind] = bucket
      buckets[bucket].places.append(
        Place(index: index, start: buckets[bucket].count, shape: tensor.shape))
      buckets[bucket].count += Self.aligned(tensor.count, to: Self.alignment)
    }
    for index in buckets.indices {
      buckets[index].count = Self.aligned(buckets[index].count, to: parts * Self.alignment)
    }
    self.buckets = buckets
  }

  private static func aligned(_ count: Int, to unit: Int) -> Int {
    (count + unit - 1) / unit * unit
  }

  /// A bucket's tensors in one; zeros where there is none.
  func joined(_ bucket: Bucket, _ tensor: (_ index: Int) -> Tensor?) -> Tensor {
    let flat = Tensor.zeros([bucket.count], dtype: bucket.dtype)
    for place in bucket.places {
      guard let source = tensor(place.index) else { continue }
      view(flat, place).copyInPlace(from: source)
    }
    return flat
  }

  /// The part of a bucket that is one of its tensors; it shares the bucket's memory.
  func view(_ flat: Tensor, _ place: Place) -> Tensor {
    flat.narrowed(0, place.start..<(place.start + place.count)).reshaped(place.shape)
  }
}
