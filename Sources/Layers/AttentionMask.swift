public import Tensors

/// What each position of a batch may attend to.
public struct AttentionMask {
  /// True where a key may be seen, bool `[batch or 1, 1, length, keyLength]`.
  ///
  /// It is nil where `isCausal` says all. A position that may see nothing, such as padding on the
  /// left, gets zeros.
  public let visible: Tensor?
  /// Whether position i sees exactly the keys up to i.
  public let isCausal: Bool
  /// What is added to the scores, `[batch or 1, heads, length, keyLength]`; nil for nothing.
  ///
  /// It has the lowest number where a key may not be seen, and so says all that the others do.
  public let scores: Tensor?

  /// Makes a mask.
  ///
  /// - Parameters:
  ///   - visible: Bool, true where a key may be seen; nil for all.
  ///   - isCausal: Whether position i sees exactly the keys up to i; needs `visible == nil`.
  public init(visible: Tensor? = nil, isCausal: Bool = false) {
    self.visible = visible
    self.isCausal = isCausal
    scores = nil
  }

  /// Makes a mask of numbers that are added to the scores.
  ///
  /// - Parameter scores: `[batch or 1, heads, length, keyLength]`, of the queries' type, the lowest
  ///   number where a key may not be seen.
  public init(scores: Tensor) {
    visible = nil
    isCausal = false
    self.scores = scores
  }

  /// A mask for a decoder.
  ///
  /// - Parameters:
  ///   - length: Number of query positions; they are the last of the keys.
  ///   - keyLength: Number of keys.
  ///   - keyMask: `[batch, keyLength]`, zero where a key is padding; nil when none is.
  ///   - sequenceIDs: `[batch, keyLength - prefixLength]`, equal where two positions belong to one
  ///     document of a packed row; nil when rows are not packed.
  ///   - prefixLength: How many of the first keys stand before every document of a packed row.
  ///   - positions: `[batch or 1, length]`, places of the queries in their documents, the prefix
  ///     counted; by them a window reaches back to the prefix of a packed row.
  ///   - window: How many keys up to itself a position sees; nil for all.
  ///   - device: Where the mask lives.
  /// - Returns: The cheapest mask that says so.
  public static func decoder(
    length: Int, keyLength: Int, keyMask: Tensor? = nil, sequenceIDs: Tensor? = nil,
    prefixLength: Int = 0, positions: Tensor? = nil, window: Int? = nil, device: Device = .cpu
  ) -> AttentionMask {
    let window = window.flatMap { $0 < keyLength ? $0 : nil }
    if keyMask == nil && sequenceIDs == nil && window == nil {
      if length == keyLength { return AttentionMask(isCausal: true) }
      if length == 1 { return AttentionMask() }
    }
    let keys = Tensor.arange(0, keyLength, device: device).unsqueezed(0)  // [1, K]
    let queries = Tensor.arange(keyLength - length, keyLength, device: device).unsqueezed(1)
    var visible = (keys .<= queries).unsqueezed(0)  // [1, L, K]
    if let window {
      var near = ((queries - keys) .< Double(window)).unsqueezed(0)  // [1, L, K]
      if sequenceIDs != nil, prefixLength > 0, let positions {
        let reached = (positions.unsqueezed(2) - keys) .< Double(window)  // [B, L, K]
        near = near .| ((keys .< Double(prefixLength)).unsqueezed(0) .& reached)
      }
      visible = visible .& near
    }
    visible = visible.unsqueezed(1)  // [B or 1, 1, L, K]
    if let keyMask { visible = visible .& (keyMask .!= 0).unsqueezed(1).unsqueezed(1) }
    if let sequenceIDs {
      // The prefix belongs to every document.
      let prefix = Tensor.full(
        [sequenceIDs.size(0), prefixLength], -1, dtype: sequenceIDs.dtype, device: device)
      let ids = prefixLength > 0 ? .concatenated([prefix, sequenceIDs], dimension: 1) : sequenceIDs
      let own = ids.narrowed(1, keyLength - length..<keyLength)
      let same = own.unsqueezed(2) .== ids.unsqueezed(1)
      visible = visible .& (same .| (ids .== -1).unsqueezed(1)).unsqueezed(1)
    }
    return AttentionMask(visible: visible)
  }
}

extension AttentionMask {
  /// A mask for an encoder, whose positions see both sides.
  ///
  /// - Parameters:
  ///   - length: Positions of a row.
  ///   - mask: `[batch, length]`, zero where a position is padding; nil when none is.
  ///   - reach: How far a position sees to either side; nil for everything.
  ///   - device: Where the mask lives.
  /// - Returns: The cheapest mask that says so.
  public static func encoder(
    length: Int, mask: Tensor? = nil, reach: Int? = nil, device: Device = .cpu
  ) -> AttentionMask {
    var visible = mask.map { ($0 .!= 0).unsqueezed(1).unsqueezed(1) }  // [B, 1, 1, L]
    if let reach, reach < length - 1 {
      let positions = Tensor.arange(0, length, device: device)
      let distance = positions.unsqueezed(0) - positions.unsqueezed(1)
      let near = (distance .<= Double(reach)) .& (distance .>= -Double(reach))
      let all = near.unsqueezed(0).unsqueezed(0)
      visible = visible.map { $0 .& all } ?? all
    }
    return AttentionMask(visible: visible)
  }
}
