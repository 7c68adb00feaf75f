/// How several adapters become one.
public struct AdapterCombination: Equatable, Sendable {
  /// The rule, by PEFT's names.
  ///
  /// `cat` is exact and `svd` the nearest of its rank. Those without `_svd` act on the factors A and B
  /// separately, as in PEFT: the product of sums is not the sum of products, so that even "linear" is
  /// far from the weighted sum where the adapters are not alike. The forms with `_svd` act on the
  /// updates themselves and then take the nearest of the rank.
  public enum Kind: String, CaseIterable, Sendable {
    /// The factors side by side: exact, the ranks add up.
    case cat
    /// The weighted sum's nearest update of a rank.
    case svd
    /// Weighted sums of A and of B.
    case linear
    /// The largest elements, a sign elected for each, the mean of those that agree with it.
    ///
    /// Source: Yadav et al. 2023, arXiv 2306.01708.
    case ties
    /// Elements dropped at random and the rest scaled up, then the weighted sum.
    ///
    /// Source: Yu et al. 2023, arXiv 2311.03099.
    case dareLinear = "dare_linear"
    /// Elements dropped at random, then the election of `ties`.
    case dareTies = "dare_ties"
    /// The largest elements, then the weighted sum.
    case magnitudePrune = "magnitude_prune"
    /// `ties` of the updates.
    case tiesSVD = "ties_svd"
    /// `dare_linear` of the updates.
    case dareLinearSVD = "dare_linear_svd"
    /// `dare_ties` of the updates.
    case dareTiesSVD = "dare_ties_svd"
    /// `magnitude_prune` of the updates.
    case magnitudePruneSVD = "magnitude_prune_svd"
  }

  /// What elects the sign of an element.
  public enum MajoritySign: String, CaseIterable, Sendable {
    /// The sum of the elements.
    case total
    /// The number of the elements of each sign.
    case frequency
  }

  /// The rule.
  public var kind: Kind
  /// Rank of the result, for `svd` and the forms with `_svd`; nil for the largest rank of the
  /// adapters.
  public var rank: Int?
  /// The share of elements that is kept, in 0...1; needed where elements are dropped.
  public var density: Double?
  /// What elects a sign, where one is elected.
  public var majoritySign = MajoritySign.total
  /// Quantile of the elements of the factors at which they are cut off, with `svd` and `_svd`; nil for
  /// not at all.
  public var clamp: Double?
  /// Start of the random numbers of `dare`.
  public var seed: UInt64 = 0

  /// Describes a combination.
  ///
  /// - Parameters:
  ///   - kind: The rule.
  ///   - rank: Rank of the result, where the rule has one.
  ///   - density: The share of elements that is kept, where the rule drops some.
  public init(_ kind: Kind = .cat, rank: Int? = nil, density: Double? = nil) {
    (self.kind, self.rank, self.density) = (kind, rank, density)
  }

  /// Checks every number, and that there is none that the rule does not have.
  ///
  /// - Throws: ``DecompositionError/outOfRange(field:expected:actual:)``.
  public func validate() throws(DecompositionError) {
    func refuse(_ field: String, _ expected: String, _ actual: Any?) -> DecompositionError {
      .outOfRange(field: field, expected: expected, actual: actual.map { "\($0)" } ?? "not given")
    }
    let name = kind.rawValue
    if let rank, !kind.truncates { throw refuse("rank", "none, \(name) has its own", rank) }
    if let rank, rank < 1 { throw refuse("rank", "a positive number", rank) }
    if kind.drops {
      guard let density, density > 0, density <= 1 else {
        throw refuse("density", "above 0 and at most 1 with \(name)", density)
      }
    } else if let density {
      throw refuse("density", "none, \(name) keeps every element", density)
    }
    if let clamp, !kind.truncates || !(clamp > 0 && clamp <= 1) {
      throw refuse("clamp", kind.truncates ? "above 0 and at most 1" : "none with \(name)", clamp)
    }
  }
}

extension AdapterCombination.Kind {
  /// Whether it ends with the nearest update of a rank.
  public var truncates: Bool { self == .svd || rawValue.hasSuffix("_svd") }

  /// Whether it drops elements.
  public var drops: Bool { rule != nil }

  /// Whether what is dropped is drawn.
  var isRandom: Bool { rawValue.hasPrefix("dare") }

  var elects: Bool { rawValue.contains("ties") }

  private var rule: String? { [.cat, .svd, .linear].contains(self) ? nil : rawValue }
}

/// What a combination made of one layer.
public struct CombinedLayer: Equatable, Sendable {
  /// The layer's path in the model.
  public let path: String
  /// Rank of its update.
  public let rank: Int
  /// ||D - sum of w D|| / ||sum of w D||: how far it is from the weighted sum.
  public let relativeError: Double
}
