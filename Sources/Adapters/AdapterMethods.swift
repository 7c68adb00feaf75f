public import JSONValues

/// The adapter methods, by PEFT's names.
public enum AdapterMethods {
  /// Every method.
  ///
  /// A new one is one line here.
  public static let all: [any AdapterConfiguration.Type] = [
    LoRAConfig.self,
    C3AConfig.self, DeloraConfig.self, FourierFTConfig.self, GraloraConfig.self, HiraConfig.self,
    LilyConfig.self, LoHaConfig.self, LoKrConfig.self, MissConfig.self, PeanutConfig.self,
    ShiraConfig.self, SuperTuningConfig.self, WaveFTConfig.self,
    VeRAConfig.self,
    PVeRAConfig.self,
    RandLoRAConfig.self,
    VBLoRAConfig.self,
    UniLoRAConfig.self,
    TinyLoRAConfig.self,
    FRoDConfig.self,
    IA3Config.self, RoAdConfig.self, BEFTConfig.self, LNTuningConfig.self, HRAConfig.self,
    OFTConfig.self, BOFTConfig.self, GLoRAConfig.self, PSOFTConfig.self, OSFConfig.self,
    DEFTConfig.self,
    // Virtual tokens and tokens.
    PromptTuningConfig.self, PrefixTuningConfig.self, PromptEncoderConfig.self,
    MultitaskPromptTuningConfig.self, CPTConfig.self, CartridgeConfig.self,
    AdaptionPromptConfig.self, TrainableTokensConfig.self,
    AdaLoRAConfig.self, AdamssConfig.self, PolyConfig.self,
    XLoRAConfig.self, ShadowConfig.self,
  ]

  /// Names of the methods, as PEFT spells them, sorted.
  public static var types: [String] { all.map { $0.type }.sorted() }

  /// Finds a method.
  ///
  /// - Parameter name: PEFT's name in any case, with `-` or `_` between words, for example "lora" or
  ///   "prompt-tuning".
  /// - Returns: The type of its configurations, or nil.
  public static func named(_ name: String) -> (any AdapterConfiguration.Type)? {
    func plain(_ text: String) -> String { text.uppercased().filter { $0 != "-" && $0 != "_" } }
    return all.first { plain($0.type) == plain(name) }
  }

  /// Reads the content of an `adapter_config.json` of any method.
  ///
  /// - Parameters:
  ///   - json: The object.
  ///   - path: For messages.
  /// - Returns: The configuration.
  /// - Throws: ``AdapterError`` when the method is not known or its configuration is wrong.
  public static func configuration(
    json: JSON, path: String
  ) throws(AdapterError) -> any AdapterConfiguration {
    let type = json["peft_type"]?.stringValue ?? "none"
    guard let method = all.first(where: { $0.type == type }) else {
      throw .unknownMethod(path: path, type: type, known: types)
    }
    return try method.init(json: json, path: path)
  }
}
