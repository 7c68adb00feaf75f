import JSONValues

/// What `tokenizer_config.json` and `special_tokens_map.json` add to `tokenizer.json`.
struct TokenizerConfiguration {
  var specialTokens: [(name: String, token: String)] = []
  var chatTemplates: [(name: String, source: String)] = []
  var modelMaximumLength: Int?

  private static let names = [
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token",
  ]
  private static let listNames = ["additional_special_tokens", "extra_special_tokens"]

  init(
    _ configuration: JSON?, specialTokensMap: JSON?, templateFiles: [(name: String, source: String)]
  ) {
    for name in Self.names {
      let token =
        Self.token(configuration?[name]) ?? Self.token(specialTokensMap?[name])
      if let token { specialTokens.append((name, token)) }
    }
    for name in Self.listNames {
      let list = configuration?[name]?.arrayValue ?? specialTokensMap?[name]?.arrayValue ?? []
      for token in list.compactMap({ Self.token($0) }) { specialTokens.append((name, token)) }
    }
    // A file that names its extra tokens, such as {"image_token": "<image>"}.
    for (name, value) in configuration?["extra_special_tokens"]?.objectValue ?? JSONObject() {
      if let token = Self.token(value) { specialTokens.append((name, token)) }
    }
    // Without a limit, transformers writes 10^30, which is no length.
    if let length = configuration?["model_max_length"]?.intValue, length > 0, length < 1 << 40 {
      modelMaximumLength = length
    }
    switch configuration?["chat_template"] {
    case .string(let source)?: chatTemplates = [("default", source)]
    case .array(let items)?:
      for item in items {
        if let name = item["name"]?.stringValue, let source = item["template"]?.stringValue {
          chatTemplates.append((name, source))
        }
      }
    default: break
    }
    // Files of their own take the place of all that the configuration holds.
    if !templateFiles.isEmpty { chatTemplates = templateFiles }
  }

  /// A token is a string or an object with its content.
  private static func token(_ value: JSON?) -> String? {
    value?.stringValue ?? value?["content"]?.stringValue
  }
}
