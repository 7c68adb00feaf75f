import Layers
import Tensors

/// A part of the model that a method sees as a linear layer, and how its adapter gets there.
struct MatrixPlace {
  let site: LayerSite
  /// Puts an adapter of a name there; gives the one that acts.
  let put: (_ name: String, _ adapter: any LayerAdapter) -> any PartAdapter
}

/// A part of the model that is no matrix to a method, and how its adapter gets there.
struct PartPlace {
  let path: String
  let adapter: any PartAdapter
  var warnings: [String] = []
  /// Puts the adapter there.
  let put: () -> Void
}

extension AdapterPlacement {
  /// A linear layer, or an embedding or a convolution where the method takes it for one; nil for others.
  func matrixPlace(
    _ path: String, _ module: (any Module)?, _ method: any LayerMethod, _ generator: Generator,
    isOutputHead: Bool
  ) throws(AdapterError) -> MatrixPlace? {
    func site(_ base: any LinearProjection) -> LayerSite {
      LayerSite(
        path: path, base: base, generator: generator, isLoading: isLoading,
        isOutputHead: isOutputHead, wantedType: dtype)
    }
    switch (module, method) {
    case (let layer as Linear, _):
      var own = site(layer.unadapted)
      own.neighbours = (layer.projection as? AdaptedProjection)?.adapters ?? []
      return MatrixPlace(site: own) { name, adapter in
        layer.adapted(in: context).add(name, adapter)
        return adapter
      }
    case (let layer as Embedding, is any TableMatrixMethod):
      let table = DenseProjection(weight: Parameter(layer.unadapted.denseWeight().detached()))
      return MatrixPlace(site: site(table)) { name, adapter in
        guard let rows = adapter as? any TableRows else {
          preconditionFailure("\(type(of: method).type): its adapters give no rows")
        }
        let placed = TableMatrixAdapter(rows)
        layer.adapted(in: context).add(name, placed)
        return placed
      }
    case (let layer as Convolution, let method as any KernelMatrixMethod):
      let base = layer.unadapted
      let kernel = KernelShape(base)
      try method.check(kernel, path: path)
      let matrix = base.weight.detached().reshaped([base.weight.size(0), -1])
      var own = site(DenseProjection(weight: Parameter(matrix)))
      own.kernel = kernel
      return MatrixPlace(site: own) { name, adapter in
        let placed = KernelMatrixAdapter(adapter)
        layer.adapted(in: context).add(name, placed)
        return placed
      }
    default: return nil
    }
  }

  /// Makes the adapter of a module that is no matrix to the method.
  func placing(
    _ method: any LayerMethod, _ module: (any Module)?, _ path: String, _ name: String,
    _ generator: Generator
  ) throws(AdapterError) -> PartPlace {
    if let layer = module as? Convolution, let method = method as? any ConvolutionMethod {
      let base = layer.unadapted
      try (method as? any KernelMethod)?.check(KernelShape(base), path: path)
      let adapter = try method.adapter(
        for: ConvolutionSite(
          path: path, base: base, generator: generator, isLoading: isLoading, wantedType: dtype))
      return PartPlace(path: path, adapter: adapter) {
        layer.adapted(in: context).add(name, adapter)
      }
    }
    guard let layer = module as? Embedding, let method = method as? any EmbeddingMethod else {
      throw .noSuchModules(names: [path], known: [])
    }
    let site = EmbeddingSite(
      path: path, base: layer.unadapted, generator: generator, isLoading: isLoading,
      wantedType: dtype)
    let adapter = try method.adapter(for: site)
    return PartPlace(path: path, adapter: adapter, warnings: method.warnings(for: site)) {
      layer.adapted(in: context).add(name, adapter)
    }
  }
}

extension Convolution {
  /// The kernels below adapters, without those that are merged into them.
  var unadapted: any ConvolutionKernels { (kernels as? AdaptedKernels)?.original ?? kernels }

  /// The kernels with adapters, put in place where there are none.
  func adapted(in context: AdapterContext) -> AdaptedKernels {
    if let own = kernels as? AdaptedKernels { return own }
    let made = AdaptedKernels(base: kernels, context: context)
    kernels = made
    return made
  }
}
