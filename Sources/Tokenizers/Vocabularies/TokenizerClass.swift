/// Classes of transformers that read vocabulary files.
enum TokenizerClass: String, CaseIterable {
  case bert = "BertTokenizer"
  case gpt2 = "GPT2Tokenizer"
  case roberta = "RobertaTokenizer"
  case qwen2 = "Qwen2Tokenizer"
  case xlmRoberta = "XLMRobertaTokenizer"
  case camembert = "CamembertTokenizer"
  case t5 = "T5Tokenizer"
  case albert = "AlbertTokenizer"
  case gemma = "GemmaTokenizer"
  case llama = "LlamaTokenizer"

  /// Names that say nothing about the files.
  static let generic: Set<String> = [
    "PreTrainedTokenizerFast", "PreTrainedTokenizer", "TokenizersBackend", "PythonBackend",
  ]

  /// Classes that give the pieces of a SentencePiece model other ids, and are not here.
  static let ownLayouts: Set<String> = [
    "MBartTokenizer", "MBart50Tokenizer", "NllbTokenizer", "PegasusTokenizer", "XLNetTokenizer",
    "SeamlessM4TTokenizer", "BarthezTokenizer", "XGLMTokenizer", "FNetTokenizer", "UdopTokenizer",
    "DebertaV2Tokenizer", "BigBirdTokenizer", "RemBertTokenizer", "M2M100Tokenizer",
    "ReformerTokenizer", "SpeechT5Tokenizer", "MarianTokenizer", "PLBartTokenizer", "CpmTokenizer",
  ]

  private static let otherNames: [String: TokenizerClass] = [
    "DistilBertTokenizer": .bert, "ElectraTokenizer": .bert, "MobileBertTokenizer": .bert,
    "ConvBertTokenizer": .bert, "LayoutLMTokenizer": .bert, "SqueezeBertTokenizer": .bert,
    "RetriBertTokenizer": .bert, "BartTokenizer": .roberta, "LongformerTokenizer": .roberta,
    "LEDTokenizer": .roberta, "CodeGenTokenizer": .gpt2, "MT5Tokenizer": .t5,
    "CodeLlamaTokenizer": .llama,
  ]

  private static let modelTypes: [TokenizerClass: [String]] = [
    .bert: [
      "bert", "distilbert", "electra", "convbert", "layoutlm", "squeezebert", "megatron-bert",
      "mobilebert", "nomic_bert",
    ],
    .roberta: ["roberta", "bart", "longformer", "roberta-prelayernorm", "data2vec-text"],
    .gpt2: ["gpt2", "gpt_neo", "gptj", "opt", "phi", "starcoder2", "codegen"],
    .qwen2: ["qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "qwen3_next"],
    .xlmRoberta: ["xlm-roberta", "xmod"],
    .camembert: ["camembert"],
    .t5: ["t5", "mt5", "switch_transformers"],
    .albert: ["albert"],
    .gemma: ["gemma", "gemma2", "gemma3", "gemma3_text", "recurrent_gemma"],
  ]

  /// A class name without the ending of the time when there were two of each.
  static func plain(_ name: String) -> String {
    name.hasSuffix("Fast") ? String(name.dropLast(4)) : name
  }

  /// The class of a name.
  init?(named name: String) {
    let plain = Self.plain(name)
    guard let found = TokenizerClass(rawValue: plain) ?? Self.otherNames[plain] else { return nil }
    self = found
  }

  /// The class of a model's type.
  init?(modelType: String) {
    guard let found = Self.modelTypes.first(where: { $0.value.contains(modelType) }) else {
      return nil
    }
    self = found.key
  }

  /// The name of its SentencePiece file.
  var modelName: String {
    switch self {
    case .xlmRoberta, .camembert: "sentencepiece.bpe.model"
    case .t5, .albert: "spiece.model"
    default: "tokenizer.model"
    }
  }

  /// The special tokens that a directory need not name.
  var specialTokens: [String: String] {
    switch self {
    case .bert:
      [
        "unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]",
        "mask_token": "[MASK]",
      ]
    case .gpt2:
      [
        "unk_token": "<|endoftext|>", "bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>",
      ]
    case .qwen2:
      [
        "unk_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>",
      ]
    case .roberta, .xlmRoberta, .camembert:
      [
        "bos_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "cls_token": "<s>",
        "unk_token": "<unk>", "pad_token": "<pad>", "mask_token": "<mask>",
      ]
    case .t5:
      ["eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"]
    case .albert:
      [
        "bos_token": "[CLS]", "eos_token": "[SEP]", "unk_token": "<unk>", "sep_token": "[SEP]",
        "pad_token": "<pad>", "cls_token": "[CLS]", "mask_token": "[MASK]",
      ]
    case .gemma:
      [
        "unk_token": "<unk>", "bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>",
        "mask_token": "<mask>",
      ]
    case .llama:
      ["unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"]
    }
  }
}
