import Foundation

/// One file on its way into the cache.
struct HubFileDownload {
  let file: HubFile
  let url: URL
  let model: HubModelName
  let commit: String
  let cache: HubCache
  /// Another cache, from which a content is copied if it is there.
  let source: HubCache?
  let client: HubClient
  let cancellation: HubCancellation
  let report: @Sendable (HubProgress) -> Void

  /// Attempts that end with a wrong checksum, each from the beginning.
  private static let mostMismatches = 2
  /// An attempt that brings fewer bytes counts as one that failed.
  private static let leastGain = 1 << 16

  /// Fetches what is missing, checks it, and puts it in its place.
  ///
  /// - Returns: Bytes that came over the network.
  func run() throws -> Int {
    guard let name = file.blob else {
      throw HubError.answer(url: HubClient.shown(url), reason: "the file has no entity tag")
    }
    // A link to a content, or the content itself where there are no links.
    let place = "\(cache.snapshot(of: model.name, commit: commit))/\(file.path)"
    if let size = fileSize(of: place), size == file.size ?? size {
      report(.received(file: file.path, bytes: size))
      report(.finished(file: file.path))
      return 0
    }
    let blob = cache.blob(name, of: model.name)
    try makeParentDirectory(of: blob)
    var wasTold = false
    let lock = try FileLock(path: cache.lock(name, of: model.name)) {
      try cancellation.check()
      if !wasTold { report(.waiting(file: file.path)) }
      wasTold = true
    }
    defer { withExtendedLifetime(lock) {} }
    var fetched = 0
    if fileSize(of: blob).map({ $0 == file.size ?? $0 }) != true {
      try copyFromSource(name, to: blob + ".incomplete")
      let partial = try PartialFile(
        path: blob + ".incomplete", size: file.size, digest: file.digest)
      fetched = try fill(partial)
      try partial.move(to: blob)
    } else {
      report(.received(file: file.path, bytes: file.size ?? 0))
    }
    try cache.place(blob: name, as: file.path, of: model.name, commit: commit)
    report(.finished(file: file.path))
    return fetched
  }

  /// Takes a content from the other cache; it is checked like one that was fetched.
  private func copyFromSource(_ name: String, to path: String) throws {
    guard let source, let size = file.size, size > 0 else { return }
    let other = source.blob(name, of: model.name)
    guard fileSize(of: other) == size, fileSize(of: path) ?? 0 < size else { return }
    unlink(path)
    do {
      try FileManager.default.copyItem(
        at: URL(fileURLWithPath: other).resolvingSymlinksInPath(), to: URL(fileURLWithPath: path))
    } catch {
      throw CheckpointError.cannotWrite(path: path, reason: error.localizedDescription)
    }
  }

  /// Fetches until the content is whole and right.
  private func fill(_ partial: PartialFile) throws -> Int {
    var state = Progress(best: partial.count)
    report(.received(file: file.path, bytes: partial.count))
    for attempt in 1...Self.mostMismatches {
      try fetch(into: partial, &state)
      guard let digest = file.digest, let actual = try partial.finish() else {
        return state.fetched
      }
      if actual == digest.digits { return state.fetched }
      try partial.restart()
      state.best = 0
      let mismatch = HubError.mismatch(
        file: "\(model.name)/\(file.path)", what: "checksum", expected: digest.digits,
        actual: actual)
      guard attempt < Self.mostMismatches else {
        partial.remove()
        throw mismatch
      }
      report(.retrying(file: file.path, reason: "the checksum is wrong", seconds: 0))
    }
    return state.fetched
  }

  private struct Progress {
    /// The most bytes that were there, by which an attempt is measured.
    var best: Int
    var fetched = 0
    var retry = HubRetry()
    var refusesRanges = false
  }

  /// Asks again and again until all bytes are there.
  private func fetch(into partial: PartialFile, _ state: inout Progress) throws {
    while partial.count != file.size {
      try cancellation.check()
      var reason: String
      var wish: String?
      do {
        let outcome = try attempt(partial, &state)
        switch outcome {
        case .whole: return
        case .more: continue
        case .failed(let text, let seconds): (reason, wish) = (text, seconds)
        }
      } catch {
        guard HubRetry.isTransient(error), let text = HubRetry.reason(of: error) else {
          throw unreachable(error) ?? error
        }
        reason = text
      }
      if partial.count == file.size { return }  // The connection broke behind the last byte.
      if partial.count >= state.best + Self.leastGain { state.retry.succeed() }
      state.best = max(state.best, partial.count)
      guard let seconds = state.retry.fail(wish: wish) else {
        throw HubError.unreachable(
          url: HubClient.shown(url),
          reason: "\(reason); what has arrived is kept, the same command goes on")
      }
      report(.retrying(file: file.path, reason: reason, seconds: seconds))
      try HubRetry.wait(seconds, cancellation)
    }
  }

  private func unreachable(_ error: any Error) -> HubError? {
    HubRetry.reason(of: error).map { .unreachable(url: HubClient.shown(url), reason: $0) }
  }

  private enum Outcome {
    case whole
    /// The rest can be asked for at once.
    case more
    case failed(String, wish: String?)
  }

  /// One request and what comes of it.
  private func attempt(_ partial: PartialFile, _ state: inout Progress) throws -> Outcome {
    if state.refusesRanges, partial.count > 0 { try restart(partial) }
    let offset = partial.count
    let (response, _) = try client.open(url, offset: offset, isBounded: !state.refusesRanges)
    switch response.status {
    case 206 where offset > 0:
      guard start(of: response) == offset else {
        state.refusesRanges = true
        return .failed("the server sends another part than the one asked for", wish: nil)
      }
    case 200...299:
      if offset > 0 {  // The server has no ranges and begins anew.
        state.refusesRanges = true
        try restart(partial)
      }
    case 416 where offset > 0, 400 where offset > 0, 501 where offset > 0:
      state.refusesRanges = true
      return .more
    default:
      let error = client.failure(response, url: url, model: model)
      guard HubClient.isTransient(response.status) else {
        throw error ?? HubError.answer(url: HubClient.shown(url), reason: "\(response.status)")
      }
      return .failed("the server answers \(response.status)", wish: response.headers["retry-after"])
    }
    while let piece = try client.connection.next() {
      try cancellation.check()
      guard partial.count + piece.count <= file.size ?? .max else {
        client.connection.cancel()
        partial.remove()
        throw HubError.mismatch(
          file: "\(model.name)/\(file.path)", what: "size", expected: "\(file.size ?? 0) bytes",
          actual: "more")
      }
      try partial.append(piece)
      state.fetched += piece.count
      report(.received(file: file.path, bytes: partial.count))
    }
    if client.connection.wasCutShort { return .more }
    if partial.count == file.size || file.size == nil { return .whole }
    return .failed("the server stopped after \(partial.count) bytes", wish: nil)
  }

  private func restart(_ partial: PartialFile) throws {
    try partial.restart()
    report(.received(file: file.path, bytes: 0))
  }

  /// The first byte of `Content-Range: bytes FIRST-LAST/SIZE`, if the size is the expected one.
  private func start(of response: HubResponse) -> Int? {
    guard let text = response.headers["content-range"],
      let match = text.wholeMatch(of: #/bytes (\d{1,18})-(\d{1,18})\/(\d{1,18}|\*)/#)
    else { return nil }
    if let size = file.size, let total = Int(match.3), total != size { return nil }
    return Int(match.1)
  }
}
