public import Tensors

/// Brings the numbers of a model's blocks, frozen or trained, when a pass comes to them, and lets them go behind it.
///
/// In memory are the block at work and the next one, which is fetched meanwhile: in a forward pass the one
/// behind it, in a backward pass the one before. An error is kept until ``check()``, as neither kind of
/// pass can throw; numbers are worthless from then on, and no further block is asked for.
public final class BlockResidency {
  /// Where what is frozen is kept; nil where that is always there.
  private let frozen: (any BlockSource)?
  /// Where what is trained is kept; nil where that is always there.
  public var trained: (any BlockSource)?
  /// What a source threw first.
  private var failure: (any Error)?
  /// Blocks whose numbers were taken, as far as they have any.
  private var taken: Set<Int> = []
  /// Tensors that were taken.
  private var known: Set<ObjectIdentifier> = []
  private var current: Int?
  private var ahead: Int?
  private var holdsAll = false
  /// The first place of the pass whose output has a gradient: the backward pass ends there.
  private var first = 0

  /// Whether the backward pass is at the current block.
  private var isBack = false

  /// Makes a residency without blocks.
  ///
  /// - Parameter frozen: Where what is frozen will be kept; nil for leaving it where it is.
  public init(_ frozen: (any BlockSource)? = nil) { self.frozen = frozen }

  /// Whether every process of a run has to go through the same passes.
  public var isShared: Bool { frozen?.isShared == true || trained?.isShared == true }

  private func sources(of block: Int) -> [any BlockSource] {
    ((taken.contains(block) ? frozen : nil).map { [$0] } ?? []) + (trained.map { [$0] } ?? [])
  }

  /// Lets the source take what is frozen in a block.
  ///
  /// - Parameters:
  ///   - module: The block; nothing of it is trained.
  ///   - block: Its number.
  /// - Throws: When the source has no place for it.
  public func take(_ module: any Module, as block: Int) throws {
    let tensors = module.frozenTensors
    guard let frozen, !tensors.isEmpty else { return }
    try frozen.take(tensors, of: block)
    taken.insert(block)
    known.formUnion(tensors.map { ObjectIdentifier($0) })
  }

  /// Lets the source take what is frozen outside of the blocks: embeddings, the head, the last norm.
  ///
  /// - Parameter module: A part of the model, or all of it, whose blocks were taken; nothing of it is
  ///   trained, and what was taken before is left out.
  /// - Throws: When the source has no place for it.
  public func takeOutside(_ module: any Module) throws {
    guard let frozen else { return }
    let tensors = module.frozenTensors.filter { !known.contains(ObjectIdentifier($0)) }
    try frozen.takeOutside(tensors)
    known.formUnion(tensors.map { ObjectIdentifier($0) })
  }

  /// Runs a block of a pass.
  ///
  /// - Parameters:
  ///   - place: Its place in the pass.
  ///   - order: The blocks of the pass.
  ///   - inputs: What it reads.
  ///   - body: The block; it may be run again by the backward pass.
  /// - Returns: What `body` returns.
  public func run(
    _ place: Int, of order: [Int], _ inputs: [Tensor], _ body: ([Tensor]) -> [Tensor]
  ) -> [Tensor] {
    if place == 0 { first = order.count }
    arrive(
      at: order[place], next: place + 1 < order.count ? order[place + 1] : nil, isBack: false)
    let outputs = body(inputs)
    guard isRecordingGradients, outputs.contains(where: \.requiresGradient) else { return outputs }
    first = min(first, place)
    // The backward pass comes to this function first, then to the block.
    return differentiable("BlockArrival", outputs) { values in
      (
        values,
        { gradients in
          let next = place > self.first ? order[place - 1] : nil
          self.arrive(at: order[place], next: next, isBack: true)
          return gradients
        }
      )
    }
  }

  private func arrive(at block: Int, next: Int?, isBack: Bool) {
    guard !holdsAll else { return }
    if failure == nil, current != block {
      attempt {
        if let ahead, ahead != block { try forget(ahead) }
        leave()
        let wasFetched = ahead == block
        ahead = nil
        for source in sources(of: block) {
          if !wasFetched { source.fetch(block) }
        }
        for source in sources(of: block) { try source.await(block) }
        current = block
      }
    }
    self.isBack = isBack
    if failure == nil, ahead == nil, let next, next != block {
      for source in sources(of: next) { source.fetch(next) }
      ahead = next
    }
    if failure != nil { for source in sources(of: block) { source.expose(block) } }
  }

  /// Leaves the current block.
  private func leave() {
    guard let block = current else { return }
    for source in sources(of: block) {
      if isBack { source.passedBack(block) }
      source.drop(block)
    }
    current = nil
  }

  /// Lets a block go that was fetched for nothing.
  private func forget(_ block: Int) throws {
    for source in sources(of: block) {
      try source.await(block)
      source.drop(block)
    }
  }

  /// Lets go of what the last pass left, and waits for what it fetched.
  ///
  /// To be called behind a pass, before processes do anything else together.
  public func end() {
    guard !holdsAll, failure == nil else { return }
    attempt {
      if let ahead { try forget(ahead) }
      ahead = nil
      leave()
    }
  }

  /// Ends the last pass and tells of an error in any.
  ///
  /// - Throws: What the source threw.
  public func check() throws {
    end()
    if let failure { throw failure }
  }

  /// Holds what is frozen in all blocks at once while something reads them outside of passes.
  ///
  /// - Parameter body: What reads them.
  /// - Returns: What `body` returns.
  /// - Throws: What the source or `body` throws.
  public func holdingAll<Result>(_ body: () throws -> Result) throws -> Result {
    guard !holdsAll else { return try body() }
    try check()
    for block in taken.sorted() {
      frozen?.fetch(block)
      try frozen?.await(block)
    }
    holdsAll = true
    defer {
      holdsAll = false
      for block in taken { frozen?.drop(block) }
    }
    return try body()
  }

  /// Gives memory of their own to parameters that are trained, whose numbers would be lost.
  ///
  /// - Parameter parameters: Parameters of the model.
  /// - Precondition: All blocks are held.
  public func giveBack(_ parameters: [Parameter]) {
    precondition(holdsAll, "giveBack: the numbers are away")
    for parameter in parameters
    where parameter.isTrainable && frozen?.loses(parameter.value) == true {
      parameter.value.takeMemory(of: parameter.value.detached().cloned())
    }
  }

  /// Frozen bytes that this process keeps: of what is always there, and of what comes and goes.
  ///
  /// - Parameter model: The model whose blocks these are.
  /// - Returns: Both.
  public func keptByteCounts(of model: any Module) -> (whole: Int, shares: Int) {
    let whole = model.frozenTensors.filter { frozen?.loses($0) != true }
    return (whole.reduce(0) { $0 + $1.byteCount }, frozen?.keptByteCount ?? 0)
  }

  private func attempt(_ body: () throws -> Void) {
    do { try body() } catch { failure = error }
  }
}

extension Module {
  /// Every tensor below this module that a pass reads and nothing trains, each once.
  var frozenTensors: [Tensor] {
    var (seen, found) = (Set<ObjectIdentifier>(), [Tensor]())
    func add(_ tensor: Tensor) {
      guard !tensor.requiresGradient, tensor.byteCount > 0 else { return }
      if seen.insert(ObjectIdentifier(tensor)).inserted { found.append(tensor) }
    }
    for (_, parameter) in parameters() { add(parameter.value) }
    for (_, module) in modules() { module.heldTensors.forEach(add) }
    return found
  }
}
