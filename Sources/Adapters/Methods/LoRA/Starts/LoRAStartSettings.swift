import JSONValues

/// Settings of the start "eva".
///
/// Source: Paischer et al. 2024, arXiv 2410.07170.
public struct EVAConfig: Equatable, Sendable {
  /// A layer's rank is at most this many times the configured one; 1 leaves ranks as they are.
  public var rho = 2.0
  /// Components are found when the cosine to those before the last batch is at least this.
  public var tau = 0.99
  /// Whether positions without a label are left out.
  public var usesLabelMask = true
  /// The label of such positions.
  public var labelMaskValue = -100
  /// Whether components are divided by the square roots of their singular values.
  public var whitens = false
  /// Whether alpha follows a layer's rank, so that the scale stays.
  public var adjustsScale = true

  /// Makes PEFT's defaults.
  public init() {}

  static var fields: [ConfigurationField<Self>] {
    [
      .number("rho", \.rho), .number("tau", \.tau), .flag("use_label_mask", \.usesLabelMask),
      .integer("label_mask_value", \.labelMaskValue), .flag("whiten", \.whitens),
      .flag("adjust_scaling_factors", \.adjustsScale),
    ]
  }
}

/// Settings of the start "corda".
///
/// Source: Yang et al. 2024, arXiv 2406.05223.
public struct CorDAConfig: Equatable, Sendable {
  /// Which components are adapted.
  public enum Mode: String, Sendable, CaseIterable {
    /// The largest: for the task that the data is of.
    case instructionPreviewed = "ipm"
    /// The smallest: what the data is about is kept.
    case knowledgePreserved = "kpm"
  }

  /// Which components are adapted.
  public var mode = Mode.instructionPreviewed

  /// Makes PEFT's defaults.
  public init() {}

  static var fields: [ConfigurationField<Self>] {
    [
      .choice("corda_method", \.mode), .off("cache_file", nil), .off("covariance_file", nil),
      .off("prune_temporary_fields", true, ignoring: true),
      .off("use_float16_for_covariance", false), .off("verbose", false, ignoring: true),
    ]
  }
}

/// Settings of the start "lora_ga".
///
/// Source: Wang et al. 2024, arXiv 2407.05000.
public struct LoRAGAConfig: Equatable, Sendable {
  /// Which of the gradient's 2 r largest singular directions A and B get.
  public enum Direction: String, Sendable, CaseIterable {
    /// Odd ones for A, even ones for B.
    case alternating = "ArBr"
    /// The second half for A, the first for B.
    case secondHalfForA = "A2rBr"
    /// The first half for A, the second for B.
    case firstHalfForA = "ArB2r"
    /// The same r for both, drawn with a fixed seed.
    case random
  }

  /// How long B's columns are.
  public enum Scale: String, Sendable, CaseIterable {
    /// outputSize^(1/4) / sqrt(gamma) times the singular values.
    case stable
    /// The first as long as W's largest singular value.
    case weightSVD = "weight_svd"
    /// A and B divided by the scale s.
    case gradientDescent = "gd_scale"
    /// The singular values.
    case unit
  }

  /// Which directions.
  public var direction = Direction.firstHalfForA
  /// How long.
  public var scale = Scale.stable
  /// gamma of `stable`, positive.
  public var stableGamma = 16

  /// Makes PEFT's defaults.
  public init() {}

  static var fields: [ConfigurationField<Self>] {
    [
      .choice("direction", \.direction), .choice("scale", \.scale),
      .integer("stable_gamma", \.stableGamma),
    ]
  }
}

/// Settings of the start "loftq".
///
/// Source: Li et al. 2023, arXiv 2310.08659.
public struct LoftQConfig: Equatable, Sendable {
  /// Bits of the quantised base, 4 or 8; told to the reader of the file.
  public var bits = 4
  /// Rounds of quantising W - s B A and decomposing what that loses.
  ///
  /// After more than one the base is another than the quantised W, and an adapter fits only that base.
  public var iterations = 1

  /// Makes PEFT's defaults.
  public init() {}

  static var fields: [ConfigurationField<Self>] {
    [
      .integer("loftq_bits", \.bits), .integer("loftq_iter", \.iterations),
    ]
  }
}

extension ConfigurationField {
  /// An object with fields of its own; null where there is none, `{}` where PEFT writes that.
  static func object<Inner>(
    _ key: String, _ path: WritableKeyPath<Configuration, Inner?>,
    _ fields: [ConfigurationField<Inner>], _ make: @escaping () -> Inner, emptyIsNone: Bool = false
  ) -> Self {
    Self(
      key,
      read: { (object, reader) throws(AdapterError) in
        let content = try reader.object(key)
        guard reader.value(key) != nil, !(emptyIsNone && content.count == 0) else {
          object[keyPath: path] = nil
          return
        }
        let unknown = content.map(\.key).filter { name in !fields.contains { $0.key == name } }
        guard unknown.isEmpty else {
          throw .configuration(
            field: key, expected: fields.map(\.key).joined(separator: ", "),
            actual: unknown.sorted().joined(separator: ", "))
        }
        var inner = make()
        for field in fields { try field.read(&inner, FieldReader(json: .object(content))) }
        object[keyPath: path] = inner
      },
      write: { object in
        guard let inner = object[keyPath: path] else { return emptyIsNone ? [:] : .null }
        return .object(JSONObject(fields.map { ($0.key, $0.write(inner)) }))
      })
  }
}
