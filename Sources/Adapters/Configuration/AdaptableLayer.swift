public import Layers
import Models

/// A layer that adapters can be put on.
public struct AdaptableLayer: Equatable, Sendable {
  /// The layer's path, which `target_modules` may name in whole or by its end.
  public let path: String
  /// Sizes of its weight: outputs and inputs.
  public let shape: [Int]
  /// Whether it is the output head, which "all-linear" leaves out.
  public let isOutputHead: Bool

  /// Numbers that a low-rank update has for each of its ranks.
  public var parametersPerRank: Int { shape.reduce(0, +) }

  /// The linear layers of a model, in its order.
  ///
  /// - Parameter model: Any model.
  /// - Returns: Its layers.
  public static func all(in model: any Module) -> [AdaptableLayer] {
    let head = (model as? any AdaptableModel)?.outputHeadPath
    return model.modules().compactMap { path, module in
      (module as? Linear).map {
        AdaptableLayer(
          path: path, shape: [$0.outputSize, $0.inputSize], isOutputHead: path == head)
      }
    }
  }
}
