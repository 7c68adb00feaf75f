import Layers
import Tensors

/// Files decide the sizes of the groups; those of PEFT leave out which outputs a group has.
final class AdamssStorage: AdapterStorage {
  private let configuration: AdamssConfig
  private let layers: [(path: String, base: any LinearProjection, adapter: AdamssAdapter)]

  init(
    _ configuration: AdamssConfig,
    _ layers: [(path: String, base: any LinearProjection, adapter: AdamssAdapter)]
  ) {
    (self.configuration, self.layers) = (configuration, layers)
  }

  func stored(_ tensors: [(key: String, tensor: Tensor)]) -> [(key: String, tensor: Tensor)] {
    tensors
  }

  func restored(
    _ tensors: [String: Tensor], _ configuration: any AdapterConfiguration
  ) throws(AdapterError) -> [String: Tensor] {
    var result = tensors
    for (path, base, adapter) in layers {
      let prefix = keyPrefix + path + "."
      let found = adapter.parameters.map { tensors[prefix + $0.name]?.shape }
      let count = adapter.a.count
      let (a, b) = (found[..<count].compactMap { $0 }, found[count..<2 * count].compactMap { $0 })
      // What is missing or has no such shape is reported with all the rest.
      guard a.count == count, b.count == count,
        zip(a, b).allSatisfy({ a, b in
          a.count == 2 && b.count == 2 && a[0] == b[1] && a[1] == adapter.projection.value.size(0)
        })
      else { continue }
      let sizes = b.map { $0[0] }
      guard sizes.reduce(0, +) == base.outputSize else {
        throw .configuration(
          field: "adamss_B of \(path)", expected: "\(base.outputSize) rows in all",
          actual: "\(sizes)")
      }
      if tensors[prefix + AdamssAdapter.placesName] == nil {
        result[prefix + AdamssAdapter.placesName] = try places(path, base, sizes)
      }
      for (parameter, shape) in zip(adapter.a + adapter.b, a + b)
      where parameter.value.shape != shape {
        let (dtype, isTrainable) = (parameter.value.dtype, parameter.isTrainable)
        parameter.value = .empty(shape, dtype: dtype, device: .meta)
        parameter.isTrainable = isTrainable
      }
    }
    return result
  }

  /// The outputs of the groups as PEFT finds them again.
  private func places(
    _ path: String, _ base: any LinearProjection, _ sizes: [Int]
  ) throws(AdapterError) -> Tensor {
    let subspaces = AdamssSubspaces(base, configuration)
    let found = subspaces.groups.map(\.count)
    guard found == sizes else {
      throw .configuration(
        field: "adamss_B of \(path)",
        expected: "\(found) rows, the groups of outputs that k-means finds in its weight (the file "
          + "does not say them, and was made for another weight)", actual: "\(sizes)")
    }
    return subspaces.order
  }
}
