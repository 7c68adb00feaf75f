import Adapters
import CommandLineParsing
import Distributed
import Foundation
import JSONValues
import Layers
import Tensors
import Tokenizers
import Training

/// Options that keep the frozen blocks of a base elsewhere than in each process's memory.
enum BlockOptions {
  /// What keeps them, or nil where they stay in memory.
  static func source(
    _ recipe: TrainRecipe, _ options: TrainingOptions, _ source: ModelSource
  ) throws -> (any BlockSource)? {
    let isOnDisk = recipe.arguments[TrainOptions.baseOffload] == .disk
    let group = options.zeroStage == 3 ? recipe.processes : nil
    guard isOnDisk || group != nil else { return nil }
    let name = isOnDisk ? "base-offload disk" : "zero 3"
    guard source.device.kind == .cpu else {
      throw UsageError("--\(name) works on the processor only, not on \(source.device)")
    }
    let directory = isOnDisk ? existingDirectory(recipe.directory) : nil
    if let group { return ShardedBlocks(group, directory: directory) }
    return directory.map(DiskBlocks.init)
  }

  /// Whether making the run's adapter reads frozen blocks, or trains some of their weights.
  private static func readsBlocks(
    _ recipe: TrainRecipe, _ tokenizer: Tokenizer, isQuiet: Bool
  ) throws -> Bool {
    var directory = recipe.isResumed ? latestCheckpoint(ofRun: recipe.directory) : nil
    if directory == nil, let name = recipe.arguments[ModelOptions.adapter] {
      directory = try HubNames.adapter(name, isQuiet: isQuiet)
    }
    guard let directory else {
      return try AdapterOptions.configuration(recipe.arguments, tokenizer).readsBlocks
    }
    let path = directory + "/adapter_config.json"
    return try AdapterMethods.configuration(json: try JSON.read(path: path), path: path)
      .readsBlocks
  }

  /// Makes an adapter; with all blocks of the base where it reads them or trains some of their weights, and
  /// with embeddings and head in any case.
  static func holding<Base>(
    _ residency: BlockResidency?, _ recipe: TrainRecipe, _ tokenizer: Tokenizer,
    _ given: ParsedArguments, _ make: () throws -> PeftModel<Base>
  ) throws -> PeftModel<Base> {
    guard let residency else { return try make() }
    func made() throws -> PeftModel<Base> {
      let model = try make()
      residency.giveBack(model.trainableParameters.map(\.parameter))
      return model
    }
    let readsAll = try readsBlocks(recipe, tokenizer, isQuiet: given[TrainOptions.quiet])
    return readsAll
      ? try residency.holdingAll(made) : try residency.holdingOutside(made)
  }

  /// Refuses a base without anything frozen.
  static func refuseWithoutBase(_ arguments: ParsedArguments) throws {
    guard arguments[TrainOptions.baseOffload] == .disk else { return }
    throw UsageError(
      "--base-offload disk: --method full trains every weight and has no frozen base")
  }

  /// The run's directory, or the one above that exists: it is not made before the run is known to be one.
  private static func existingDirectory(_ path: String) -> String {
    var url = URL(fileURLWithPath: path)
    var isDirectory: ObjCBool = false
    while url.pathComponents.count > 1,
      !(FileManager.default.fileExists(atPath: url.path, isDirectory: &isDirectory)
        && isDirectory.boolValue)
    {
      url.deleteLastPathComponent()
    }
    return url.path
  }
}
