import Checkpoints
import Foundation

extension GGUFExportArchitecture {
  /// Rotary embeddings are those that the reader makes by itself, or of a kind that the file can say.
  func checkRopes(_ model: DecoderConfiguration, _ path: String) throws(ModelError) {
    guard name != "gpt2" else { return }
    func refuse(_ what: String, _ supported: String) -> ModelError {
      .unsupported(
        path: path, what: "\(what) in a GGUF file of architecture \(name)", supported: [supported])
    }
    guard let main = mainRope(model) else { throw refuse("no rotary embeddings", "some") }
    for (layer, rope) in model.ropes.enumerated() {
      switch name {
      case "gemma3" where model.slidingWindows[layer] != nil:
        // Layers that slide have plain rotary embeddings of their own, which its reader fixes.
        let local = RopeConfiguration(theta: 10000, rotatedSize: model.headSize, scaling: .none)
        guard rope == local else {
          throw refuse("rotary embeddings of sliding layers by another base", "base 10000")
        }
      case "smollm3":
        guard (rope == nil) == ((layer + 1) % 4 == 0), rope == nil || rope == main else {
          throw refuse("this pattern of layers without positions", "every fourth layer")
        }
      default:
        guard rope == main else { throw refuse("rotary embeddings by layer", "one kind") }
      }
    }
    guard main.rotatedSize == model.headSize || allows.contains(.partialRope) else {
      throw refuse("rotating \(main.rotatedSize) of \(model.headSize) dimensions", "all of them")
    }
    let feature: Feature
    switch main.scaling {
    case .none: return
    case .linear: feature = .linearRope
    case .llama3: feature = .llama3Rope
    case .long: feature = .longRope
    case .dynamic: throw refuse("rope type \"dynamic\"", "a model without it")
    case .yarn(let yarn):
      let usual = yarn.factor <= 1 ? 1 : 0.1 * log(yarn.factor) + 1
      guard yarn.fast == 32, yarn.slow == 1, yarn.truncates,
        abs(main.attentionFactor - usual) < 1e-9
      else { throw refuse("YaRN with numbers of its own", "its defaults") }
      feature = .yarnRope
    }
    guard allows.contains(feature) else {
      throw refuse("stretched positions (\(main.scaling))", "none")
    }
  }

  /// The rotary embeddings that the file describes: those of layers that see everything.
  func mainRope(_ model: DecoderConfiguration) -> RopeConfiguration? {
    let full = zip(model.ropes, model.slidingWindows).first { $0.0 != nil && $0.1 == nil }?.0
    return full ?? model.ropes.compactMap { $0 }.first
  }
}
