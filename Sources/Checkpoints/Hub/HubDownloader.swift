import Foundation
import JSONValues
import Synchronization

/// A model or adapter that is on this machine.
public struct HubSnapshot: Sendable, Equatable {
  /// A file of it.
  public struct File: Sendable, Equatable {
    /// Its name in the repository.
    public let path: String
    /// Its size in bytes.
    public let bytes: Int
    /// Bytes of it that came over the network now.
    public let fetchedBytes: Int
  }

  /// What was asked for.
  public let model: HubModelName
  /// The commit, as far as it is known.
  public let commit: String
  /// The directory with the files.
  public let directory: String
  /// The files; empty when the network was not asked.
  public let files: [File]
}

/// Fetches models and adapters from the hub into the cache that Python's programs share.
///
/// Files are fetched in parallel, each resumed where an earlier attempt or process stopped, and get
/// their names when size and checksum are right. A branch's reference is changed last, so that a
/// killed download leaves the commit that was there in use.
public struct HubDownloader: Sendable {
  /// The cache.
  public let cache: HubCache
  private let environment: HubEnvironment
  private let source: HubCache?
  private let parallelFiles: Int

  /// Makes a downloader.
  ///
  /// - Parameters:
  ///   - environment: Endpoint, token, cache and whether the network may be used.
  ///   - cache: Where files go; nil for the environment's.
  ///   - parallelFiles: Files that are fetched at the same time.
  public init(
    environment: HubEnvironment = HubEnvironment(), cache: HubCache? = nil, parallelFiles: Int = 4
  ) {
    self.init(
      environment: environment, cache: cache ?? HubCache(directory: environment.cacheDirectory),
      source: nil, parallelFiles: parallelFiles)
  }

  /// As above, with a cache from which contents are copied that are there.
  init(environment: HubEnvironment, cache: HubCache, source: HubCache?, parallelFiles: Int) {
    self.environment = environment
    self.cache = cache
    self.source = source
    self.parallelFiles = max(1, parallelFiles)
  }

  /// Finds a model in the cache, and fetches it only where something is missing there.
  ///
  /// - Parameters:
  ///   - model: The model or adapter.
  ///   - contents: What is wanted of it.
  ///   - report: Called on several threads.
  /// - Returns: Where it is.
  /// - Throws: ``HubError`` or ``CheckpointError``.
  public func find(
    _ model: HubModelName, _ contents: HubContents,
    report: @escaping @Sendable (HubProgress) -> Void = { _ in }
  ) throws -> HubSnapshot {
    if cache.isComplete(model, contents), let found = cached(model, contents) { return found }
    return try download(model, contents, report: report)
  }

  /// Asks the hub what a revision is now, and fetches what is not in the cache.
  ///
  /// When nothing may be fetched or no server answers, a model that is whole in the cache is used.
  ///
  /// - Parameters:
  ///   - model: The model or adapter.
  ///   - contents: What is wanted of it.
  ///   - report: Called on several threads.
  /// - Returns: Where it is.
  /// - Throws: ``HubError`` or ``CheckpointError``.
  public func download(
    _ model: HubModelName, _ contents: HubContents = .any,
    report: @escaping @Sendable (HubProgress) -> Void = { _ in }
  ) throws -> HubSnapshot {
    if environment.isOffline {
      if let found = cached(model, contents) { return found }
      throw HubError.offline(
        model: "\(model)", cache: cache.directory,
        lacking: cache.lacking(model, contents) ?? "something is missing")
    }
    let client = try HubClient(environment)
    let listing: HubListing
    do {
      listing = try list(model, client, report)
    } catch let error as HubError {
      switch error {
      case .unreachable, .refused, .notFound:
        guard let found = cached(model, contents) else { throw error }
        report(.note("\(error)\nusing what is in the cache: \(found.directory)"))
        return found
      default: throw error
      }
    }
    return try fetch(model, contents, listing, client, report)
  }

  /// The model if all that is needed is in the cache.
  private func cached(_ model: HubModelName, _ contents: HubContents) -> HubSnapshot? {
    guard cache.lacking(model, contents) == nil,
      let directory = cache.snapshot(of: model.name, revision: model.revision)
    else { return nil }
    return HubSnapshot(
      model: model, commit: lastComponent(of: directory), directory: directory, files: [])
  }

  /// Asks for the commit and the files, several times if need be.
  private func list(
    _ model: HubModelName, _ client: HubClient, _ report: (HubProgress) -> Void
  ) throws -> HubListing {
    let url = try client.endpoint.listing(of: model)
    let shown = HubClient.shown(url)
    var retry = HubRetry()
    while true {
      let reason: String
      var wish: String?
      do {
        let (response, _) = try client.open(url)
        let failure = client.failure(response, url: url, model: model)
        if let failure, !HubClient.isTransient(response.status) { throw failure }
        if failure == nil {
          let body = try client.body(url: url)
          guard let json = try? JSON.parse(body) else {
            throw HubError.answer(url: shown, reason: "the answer is no JSON; is this a hub?")
          }
          return try HubListing(json, url: shown)
        }
        reason = "the server answers \(response.status)"
        wish = response.headers["retry-after"]
      } catch {
        guard let text = HubRetry.reason(of: error) else { throw error }
        guard HubRetry.isTransient(error), !HubRetry.isAbsent(error, after: retry.failures) else {
          throw HubError.unreachable(url: shown, reason: text)
        }
        reason = text
      }
      guard let seconds = retry.fail(wish: wish) else {
        throw HubError.unreachable(url: shown, reason: reason)
      }
      report(.retrying(file: "list of files", reason: reason, seconds: seconds))
      try HubRetry.wait(seconds, HubCancellation())
    }
  }

  private func fetch(
    _ model: HubModelName, _ contents: HubContents, _ listing: HubListing, _ client: HubClient,
    _ report: @escaping @Sendable (HubProgress) -> Void
  ) throws -> HubSnapshot {
    try cache.create()
    let batch = HubBatch(
      model: model, commit: listing.commit, cache: cache, source: source,
      environment: environment, report: report)
    var files = try HubSelection.files(of: listing, contents, model: model)
    var done: [HubSnapshot.File] = []
    let directory = cache.snapshot(of: model.name, commit: listing.commit)
    // The index says which shards there are; it is small.
    if let place = files.firstIndex(where: { $0.path == HubSelection.weightsIndex }) {
      let index = files.remove(at: place)
      done += try batch.run([index], threads: 1) { _ in }
      for shard in try HubSelection.shards(inIndex: "\(directory)/\(index.path)") {
        guard let file = listing.file(shard) else {
          throw HubError.lacks(
            model: "\(model)", what: "\(shard), which \(index.path) names",
            found: listing.files.map(\.path).filter { $0.hasSuffix(".safetensors") })
        }
        files.append(file)
      }
    }
    done += try batch.run(files, threads: parallelFiles) { files in
      let bytes = files.reduce(0) { $0 + ($1.size ?? 0) }
      report(.planned(model: "\(model)", files: files.count, bytes: bytes))
    }
    let absent = (HubSelection.modelFiles).filter { listing.file($0) == nil }
    cache.mark(missing: absent, of: model.name, commit: listing.commit)
    try cache.remember(model.revision, of: model.name, commit: listing.commit)
    return HubSnapshot(model: model, commit: listing.commit, directory: directory, files: done)
  }
}
