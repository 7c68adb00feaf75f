import JSONValues

/// What is wanted of a repository.
public enum HubContents: Sendable, Equatable {
  /// A model with its tokenizer.
  case model
  /// An adapter in PEFT's files.
  case adapter
  /// Whichever is there, both too.
  case any
}

/// Which files of a repository are used.
package enum HubSelection {
  static let singleWeights = "model.safetensors"
  static let weightsIndex = "model.safetensors.index.json"
  static let adapterConfiguration = "adapter_config.json"
  static let adapterWeights = "adapter_model.safetensors"

  /// Configuration, tokenizer and templates of a model, where they are there.
  static let modelFiles = [
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
    "special_tokens_map.json", "added_tokens.json", "chat_template.jinja", "chat_template.json",
    "vocab.json", "vocab.txt", "merges.txt", "tokenizer.model", "spiece.model",
    "sentencepiece.bpe.model", "modules.json", "sentence_bert_config.json",
    "1_Pooling/config.json",
  ]

  private static let templateFolder = "additional_chat_templates/"
  private static let pickleEndings = [".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"]

  /// The files to fetch, weights last; shards come from the index, which is fetched before.
  ///
  /// - Parameters:
  ///   - listing: What the repository has.
  ///   - contents: What is wanted of it.
  ///   - model: The model, for errors.
  /// - Returns: Files of the listing.
  /// - Throws: ``HubError/onlyPickle(model:files:)`` or ``HubError/lacks(model:what:found:)``.
  package static func files(
    of listing: HubListing, _ contents: HubContents, model: HubModelName
  ) throws(HubError) -> [HubFile] {
    let hasAdapter = listing.file(adapterConfiguration) != nil
    let hasModel = listing.file("config.json") != nil
    let takesAdapter = contents == .adapter || (contents == .any && hasAdapter)
    let takesModel = contents == .model || (contents == .any && (hasModel || !hasAdapter))
    var files: [HubFile] = []
    var weights: [HubFile] = []
    if takesModel {
      guard hasModel else {
        throw .lacks(
          model: "\(model)", what: "config.json", found: listing.files.map(\.path))
      }
      weights += try modelWeights(of: listing, model)
    }
    if takesModel || hasAdapter {
      files += modelFiles.compactMap(listing.file)
      files += listing.files.filter { file in
        file.path.hasPrefix(templateFolder) && file.path.hasSuffix(".jinja")
      }
    }
    if takesAdapter {
      guard let configuration = listing.file(adapterConfiguration) else {
        throw .lacks(
          model: "\(model)", what: adapterConfiguration, found: listing.files.map(\.path))
      }
      files.append(configuration)
      weights += try adapterFiles(of: listing, model)
    }
    return files + weights
  }

  /// The single file, as it wins where a directory is opened, or the index.
  private static func modelWeights(
    of listing: HubListing, _ model: HubModelName
  ) throws(HubError) -> [HubFile] {
    if let file = listing.file(singleWeights) ?? listing.file(weightsIndex) { return [file] }
    throw noWeights(listing, model, "\(singleWeights) or \(weightsIndex)")
  }

  private static func adapterFiles(
    of listing: HubListing, _ model: HubModelName
  ) throws(HubError) -> [HubFile] {
    guard listing.file(adapterWeights) != nil else {
      throw noWeights(listing, model, adapterWeights)
    }
    return listing.files.filter { file in
      file.path.hasPrefix("adapter_") && file.path.hasSuffix(".safetensors")
    }
  }

  private static func noWeights(
    _ listing: HubListing, _ model: HubModelName, _ wanted: String
  ) -> HubError {
    let paths = listing.files.map(\.path)
    let pickles = paths.filter { path in pickleEndings.contains(where: path.hasSuffix) }
    let others = paths.filter { $0.hasSuffix(".safetensors") || $0.hasSuffix(".gguf") }
    guard others.isEmpty, !pickles.isEmpty else {
      return .lacks(model: "\(model)", what: wanted, found: others.isEmpty ? paths : others)
    }
    return .onlyPickle(model: model.name, files: pickles)
  }

  /// The shards that an index names, in the order of their names.
  ///
  /// - Throws: ``CheckpointError/index(path:reason:)`` or ``JSONError``.
  static func shards(inIndex path: String) throws -> [String] {
    guard let map = try JSON.read(path: path)["weight_map"]?.objectValue else {
      throw CheckpointError.index(path: path, reason: "there is no weight_map")
    }
    var names: Set<String> = []
    for (_, value) in map {
      guard let name = value.stringValue, HubListing.isPlain(name) else {
        throw CheckpointError.index(path: path, reason: "weight_map names a file that cannot be")
      }
      names.insert(name)
    }
    return names.sorted()
  }
}
