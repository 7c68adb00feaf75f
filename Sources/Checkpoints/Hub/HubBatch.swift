import Foundation
import Synchronization

/// Files of one commit that are fetched in parallel.
package struct HubBatch: Sendable {
  let model: HubModelName
  let commit: String
  let cache: HubCache
  let source: HubCache?
  let environment: HubEnvironment
  let report: @Sendable (HubProgress) -> Void

  private struct State<Result> {
    var next = 0
    var results: [Int: Result] = [:]
    var failure: (any Error)?

    /// The place of the next file that nobody has taken.
    mutating func take(_ count: Int) -> Int? {
      guard next < count else { return nil }
      next += 1
      return next - 1
    }
  }

  /// Fetches files; the first error ends all of them.
  ///
  /// - Parameters:
  ///   - files: What to fetch.
  ///   - threads: Files that are under way at the same time.
  ///   - plan: Told the files with their sizes, before the first is fetched.
  /// - Returns: What became of each file, in their order.
  /// - Throws: ``HubError`` or ``CheckpointError``.
  func run(
    _ files: [HubFile], threads: Int, plan: ([HubFile]) -> Void
  ) throws -> [HubSnapshot.File] {
    let described = try each(files, threads: threads) { file, client, cancellation in
      try describe(file, client, cancellation)
    }
    plan(described)
    try checkRoom(for: described)
    let fetched = try each(described, threads: threads) { file, client, cancellation in
      let url = try client.endpoint.file(file.path, of: model.name, commit: commit)
      return try HubFileDownload(
        file: file, url: url, model: model, commit: commit, cache: cache, source: source,
        client: client, cancellation: cancellation, report: report
      ).run()
    }
    return zip(described, fetched).map { file, fetched in
      let place = "\(cache.snapshot(of: model.name, commit: commit))/\(file.path)"
      return HubSnapshot.File(
        path: file.path, bytes: file.size ?? fileSize(of: place) ?? 0, fetchedBytes: fetched)
    }
  }

  /// Runs a body for each file on several threads, each with a client of its own.
  private func each<Result: Sendable>(
    _ files: [HubFile], threads: Int,
    _ body: @escaping @Sendable (HubFile, HubClient, HubCancellation) throws -> Result
  ) throws -> [Result] {
    let state = Mutex(State<Result>())
    let cancellation = HubCancellation()
    let environment = environment
    // Threads that wait for servers are no matter of the number of processors.
    let group = DispatchGroup()
    for _ in 0..<min(threads, files.count) {
      group.enter()
      Thread.detachNewThread {
        defer { group.leave() }
        do {
          let client = try HubClient(environment)
          while let place = state.withLock({ $0.take(files.count) }) {
            try cancellation.check()
            let result = try body(files[place], client, cancellation)
            state.withLock { $0.results[place] = result }
          }
        } catch {
          state.withLock { $0.failure = $0.failure ?? error }
          cancellation.cancel()
        }
      }
    }
    group.wait()
    return try state.withLock { state in
      if let failure = state.failure { throw failure }
      return files.indices.compactMap { state.results[$0] }
    }
  }

  /// Asks what a file is, where the list did not say.
  private func describe(
    _ file: HubFile, _ client: HubClient, _ cancellation: HubCancellation
  ) throws -> HubFile {
    guard file.digest == nil || file.size == nil else { return file }
    let url = try client.endpoint.file(file.path, of: model.name, commit: commit)
    var retry = HubRetry()
    while true {
      let reason: String
      do {
        let (response, own) = try client.open(url, isHead: true)
        let isRedirect = (300...399).contains(response.status)
        let failure = isRedirect ? nil : client.failure(response, url: url, model: model)
        if let failure, !HubClient.isTransient(response.status) { throw failure }
        if failure == nil {
          return Self.described(file, own, commit: commit, isRedirect: isRedirect)
        }
        reason = "the server answers \(response.status)"
      } catch {
        guard let text = HubRetry.reason(of: error), HubRetry.isTransient(error) else {
          throw error
        }
        reason = text
      }
      guard let seconds = retry.fail() else {
        throw HubError.unreachable(url: HubClient.shown(url), reason: reason)
      }
      report(.retrying(file: file.path, reason: reason, seconds: seconds))
      try HubRetry.wait(seconds, cancellation)
    }
  }

  /// What the answer's headers say of a file.
  ///
  /// A tag that is no checksum tells the versions of one address apart, so that it names the content
  /// together with commit and path.
  package static func described(
    _ file: HubFile, _ headers: [String: String], commit: String, isRedirect: Bool
  ) -> HubFile {
    var file = file
    let tag = (headers["x-linked-etag"] ?? headers["etag"] ?? "")
      .replacing(#/^W\//#, with: "").trimmingCharacters(in: CharacterSet(charactersIn: "\""))
    if file.digest == nil {
      file.digest = HubDigest(entityTag: tag)
      let name = "\(commit.prefix(12))-\(file.path)-\(tag)".utf8.map { byte in
        isNameByte(byte) ? Character(Unicode.Scalar(byte)) : "-"
      }
      file.blob = file.digest?.digits ?? (tag.isEmpty ? nil : "tag-" + String(name.prefix(160)))
    }
    let size = headers["x-linked-size"] ?? (isRedirect ? nil : headers["content-length"])
    file.size = file.size ?? size.flatMap(Int.init)
    return file
  }

  /// Refuses to begin what the disk cannot hold.
  private func checkRoom(for files: [HubFile]) throws {
    var wanted = 0
    for file in files {
      guard let size = file.size, let name = file.blob else { continue }
      let blob = cache.blob(name, of: model.name)
      wanted += max(
        0, size - max(fileSize(of: blob) ?? 0, fileSize(of: blob + ".incomplete") ?? 0))
    }
    let system = try? FileManager.default.attributesOfFileSystem(forPath: cache.directory)
    guard let free = (system?[.systemFreeSize] as? NSNumber)?.intValue, wanted > free else {
      return
    }
    throw CheckpointError.cannotWrite(
      path: cache.directory, reason: "\(wanted) bytes are needed, and the disk has \(free) left")
  }

}
