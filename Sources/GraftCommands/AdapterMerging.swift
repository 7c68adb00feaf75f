import Adapters
import Models

/// Merging adapters that options name into a model.
enum AdapterMerging {
  /// Merges adapters one after another.
  ///
  /// - Parameters:
  ///   - adapters: Directories or names on the hub.
  ///   - model: What gets them; its layers have no adapter afterwards.
  ///   - safely: Whether weights that are not finite are refused.
  ///   - visit: Sees the model with each adapter before that is merged.
  /// - Throws: `AdapterError` and what reading an adapter throws.
  static func merge<Base: AdaptableModel>(
    _ adapters: [String], into model: Base, safely: Bool,
    _ visit: (PeftModel<Base>) -> Void = { _ in }
  ) throws {
    for path in adapters {
      let peft = try PeftModel.fromPretrained(model, HubNames.adapter(path))
      visit(peft)
      do {
        try peft.mergeAndUnload(safely: safely)
      } catch {
        guard case .notFinite(let module, _) = error else { throw error }
        throw AdapterError.notFinite(module: module, adapter: path)
      }
    }
  }
}
