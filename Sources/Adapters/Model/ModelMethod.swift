import Layers
import Models
import Tensors

/// A method that takes part in whole passes of a model, not in single layers alone.
protocol ModelMethod: AdapterConfiguration {
  /// Why its adapters cannot be merged.
  static var mergeObstacle: String { get }

  /// The configuration with what the model decides filled in.
  ///
  /// - Parameter site: The model.
  /// - Returns: What is put into the model and saved.
  /// - Throws: ``AdapterError`` when something does not fit.
  func completed(for site: ModelSite) throws(AdapterError) -> Self

  /// Makes the adapter and gives it its places; it does not act yet.
  ///
  /// The model is changed only when everything fits.
  ///
  /// - Parameters:
  ///   - placed: What gets tensors, targets and a companion.
  ///   - site: The model.
  /// - Throws: ``AdapterError`` when something does not fit.
  func place(_ placed: PlacedAdapter, in site: ModelSite) throws(AdapterError)
}

/// A model that gets an adapter which takes part in its passes.
struct ModelSite: InitialNumbers {
  let model: any AccompaniedModel
  let context: AdapterContext
  let generator: Generator
  /// Whether a file is about to give the adapter's tensors.
  let isLoading: Bool
  /// Whether every name of a list of targets must match something.
  let isStrict: Bool
  /// Type of the adapter's numbers, when one is asked for.
  let wantedType: DType?
  let baseDType: DType

  var decoder: DecoderModel { model.decoder }
  var device: Device { decoder.embedding.device }
}

/// A configuration that names directories.
protocol PathConfiguration: AdapterConfiguration {
  /// The same with relative paths that lead somewhere from a directory as seen from there.
  ///
  /// - Parameter directory: Where the configuration's file is.
  /// - Returns: Paths that hold wherever the configuration goes; others stay as they are.
  func resolved(in directory: String) -> Self

  /// What the adapter has beside its own file, in those directories.
  ///
  /// - Returns: Tensors by the keys that they have in the adapter.
  /// - Throws: ``AdapterError`` when a directory is not what it should be.
  func tensors() throws(AdapterError) -> [String: Tensor]
}

extension PathConfiguration {
  func tensors() throws(AdapterError) -> [String: Tensor] { [:] }
}

extension AdapterPlacement {
  /// The model as a method wants it that takes part in its passes; nil for other methods.
  func modelSite(
    _ configuration: any AdapterConfiguration, _ generator: Generator, _ isStrict: Bool
  ) throws(AdapterError) -> ModelSite? {
    guard configuration is any ModelMethod else { return nil }
    guard let model = model as? any AccompaniedModel else {
      throw .impossible(method: type(of: configuration).type, what: "put into this model")
    }
    return ModelSite(
      model: model, context: context, generator: generator, isLoading: isLoading,
      isStrict: isStrict, wantedType: dtype,
      baseDType: model.parameters().first?.parameter.value.dtype ?? .float32)
  }

  func placeModel(
    _ method: any ModelMethod, _ placed: PlacedAdapter, _ site: ModelSite?
  ) throws(AdapterError) {
    guard let site else { return }
    try method.place(placed, in: site)
    // The decoder holds the companion only while the adapter acts.
    placed.onActivation = { [weak decoder = site.decoder, companion = placed.companion] isActive in
      if isActive {
        decoder?.companion = companion
      } else if decoder?.companion === companion {
        decoder?.companion = nil
      }
    }
  }
}

extension PeftModel {
  /// Checks that no adapter that takes part in whole passes acts with another such one or with
  /// virtual tokens.
  func checkCompanions(_ chosen: [PlacedAdapter]) throws(AdapterError) {
    guard chosen.contains(where: { $0.companion != nil }) else { return }
    let names = chosen.filter { $0.companion != nil || $0.prompt != nil }.map(\.name)
    guard names.count < 2 else {
      throw .conflict(
        "\(names.joined(separator: " and ")) both take part in whole passes of the model; only one "
          + "can act")
    }
  }
}
