import Checkpoints
import Foundation
import Testing

@Suite struct HubDownloaderTests {
  private let scratch: Scratch
  private let model: HubModelName
  private let files: [String: [UInt8]]

  init() throws {
    scratch = try Scratch()
    model = try #require(HubModelName("org/name"))
    var generator = SeededGenerator(state: 1)
    files = [
      "config.json": Array("{}".utf8), "tokenizer.json": Array("[]".utf8),
      "model.safetensors": (0..<300_000).map { _ in UInt8.random(in: 0...255, using: &generator) },
      "pytorch_model.bin": [1, 2, 3],
    ]
  }

  private func checksum(_ name: String, _ content: [UInt8]) throws -> String {
    let sum = try #require(MessageDigest(.sha1))
    Array("blob \(content.count)\0".utf8).withUnsafeBytes(sum.update)
    content.withUnsafeBytes(sum.update)
    return sum.finish()
  }

  /// The hub's answer for the files, of which `wrong` has another checksum.
  private func list(_ names: [String]? = nil, wrong: String? = nil) throws -> String {
    let entries = try (names ?? files.keys.sorted()).map { name in
      let content = files[name] ?? []
      let sum = try checksum(name, name == wrong ? content + [0] : content)
      return #"{"rfilename": "\#(name)", "size": \#(content.count), "blobId": "\#(sum)"}"#
    }
    return #"{"sha": "abc", "siblings": [\#(entries.joined(separator: ", "))]}"#
  }

  private func downloader(
    _ server: HubServer, _ more: [String: String] = [:]
  ) -> HubDownloader {
    let variables = [
      "HF_HOME": scratch.path, "HF_ENDPOINT": server.address, "HF_HUB_DOWNLOAD_TIMEOUT": "5",
    ]
    return HubDownloader(environment: HubEnvironment(variables.merging(more) { $1 }))
  }

  @Test func aModelIsFetchedIntoTheCacheAndFoundThere() throws {
    let server = try HubServer(list: list(), files: files)
    let found = try downloader(server, ["HF_TOKEN": "hf_x"]).download(model)
    #expect(found.commit == "abc")
    #expect(found.directory == scratch("hub/models--org--name/snapshots/abc"))
    #expect(
      Set(found.files.map(\.path)) == ["config.json", "tokenizer.json", "model.safetensors"])
    for file in found.files {
      #expect(try contents("\(found.directory)/\(file.path)") == files[file.path])
      #expect(file.fetchedBytes == file.bytes)
    }
    let link = try FileManager.default.destinationOfSymbolicLink(
      atPath: found.directory + "/config.json")
    #expect(link == "../../blobs/" + (try checksum("config.json", Array("{}".utf8))))
    #expect(try contents(scratch("hub/models--org--name/refs/main")) == Array("abc".utf8))
    #expect(server.requests.allSatisfy { $0.token == "Bearer hf_x" })
    #expect(!server.requests.contains { $0.path.hasSuffix(".bin") })
    let count = server.requests.count
    let again = try downloader(server).find(model, .model)
    #expect(again.directory == found.directory && server.requests.count == count)
    let offline = try downloader(server, ["HF_HUB_OFFLINE": "1"]).download(model)
    #expect(offline.directory == found.directory && server.requests.count == count)
  }

  @Test func aBrokenConnectionIsGoneOnWith() throws {
    let server = try HubServer(list: list(), files: files, cut: 100_000)
    let found = try downloader(server).download(model)
    #expect(try contents(found.directory + "/model.safetensors") == files["model.safetensors"])
    let ranges = server.requests.filter { $0.path.hasSuffix("model.safetensors") }.map(\.range)
    #expect(ranges == [0, 100_000, 200_000])
  }

  @Test func aWrongChecksumIsRefusedAndNothingKept() throws {
    let server = try HubServer(list: list(wrong: "model.safetensors"), files: files)
    let error = #expect(throws: HubError.self) { try downloader(server).download(model) }
    guard case .mismatch(let file, "checksum", _, _) = error else {
      Issue.record("\(String(describing: error))")
      return
    }
    #expect(file == "org/name/model.safetensors")
    let folder = scratch("hub/models--org--name")
    #expect(!FileManager.default.fileExists(atPath: folder + "/refs/main"))
    let name = try checksum("", (files["model.safetensors"] ?? []) + [0])
    #expect(try !scratch.names(folder + "/blobs").contains { $0.hasPrefix(name) })
  }

  @Test func aDirectoryOfItsOwnAppearsWhole() throws {
    let server = try HubServer(list: list(), files: files)
    let output = scratch("plain")
    let environment = HubEnvironment(["HF_HOME": scratch("home"), "HF_ENDPOINT": server.address])
    let found = try HubDownloader.download(model, to: output, environment: environment)
    #expect(found.directory == output)
    #expect(try scratch.names(output) == ["config.json", "model.safetensors", "tokenizer.json"])
    #expect(try scratch.names() == ["plain"])
    #expect(throws: CheckpointError.alreadyExists(path: output)) {
      try HubDownloader.download(model, to: output, environment: environment)
    }
  }

  @Test func offlineSaysWhatIsMissing() throws {
    let server = try HubServer(list: list(), files: files)
    let error = #expect(throws: HubError.self) {
      try downloader(server, ["HF_HUB_OFFLINE": "1"]).find(model, .model)
    }
    #expect(error?.kind == .inputMissing)
    #expect(error.map { "\($0)".contains("HF_HUB_OFFLINE") } == true)
    #expect(server.requests.isEmpty)
  }

  @Test func picklesAreNotFetched() throws {
    let server = try HubServer(list: list(["config.json", "pytorch_model.bin"]), files: files)
    #expect(throws: HubError.onlyPickle(model: "org/name", files: ["pytorch_model.bin"])) {
      try downloader(server).download(model)
    }
    #expect(server.requests.count == 1)
  }
}
