import Checkpoints
import Collectives
import Distributed
import Foundation
import Optimizers
import Tensors

/// Saves an optimiser that is shared out, as a run does, with nothing else in the directory.
func save(
  _ optimizer: ShardedOptimizer, _ path: String,
  rest: (_ directory: String) throws -> Void = { _ in }
) throws {
  try optimizer.save(path) { directory in
    try SafetensorsWriter.save(
      "\(directory)/\(OptimizerFiles.common)", tensors: [("generator", Tensor([Int64(1)]))],
      metadata: OptimizerFiles.commonMetadata(shares: optimizer.processCount))
    try rest(directory)
  }
}

/// Reads what `save` wrote.
func load(_ path: String, into optimizer: any Optimizer) throws {
  let common = try SafetensorsFile(path: "\(path)/\(OptimizerFiles.common)")
  struct NoShares: Error {}
  guard let shares = try OptimizerShares(directory: path, common: common) else { throw NoShares() }
  try shares.load(into: optimizer)
}

/// Takes the state that other processes saved; prints its bits on rank 0.
///
/// Several processes save their slices again for that, and rank 0 joins them. With four, parameters are in
/// other buckets than they were. Words: the stage, the optimiser, where from and where to.
func reshareRun(_ processes: ProcessGroup?, _ words: [String]) throws -> String {
  let (stage, name, source, target) = (Int(words[2]) ?? 0, words[3], words[4], words[5])
  let run = try ShardedCase(
    processes, stage: stage, optimizer: name, blocks: processes?.size == 4 ? [0, 1, 1, nil] : [])
  try load(source, into: run.optimizer)
  guard let shared = run.shared else { return "\(run.states)" }
  try save(shared, target)
  guard shared.rank == 0 else { return "" }
  let whole = try ShardedCase(nil, stage: 0, optimizer: name)
  try load(target, into: whole.optimizer)
  return "\(whole.states)"
}

/// Saves where a process cannot write.
///
/// - "limit": rank 1 may only write short files.
/// - "forwarded": rank 1 does not see the directory, and rank 0 cannot write its file.
/// - "rest": rank 0 cannot write something else.
/// - "parent": rank 0 cannot make the directory.
func savingFails(_ group: ProcessGroup, _ way: String, _ directory: String) throws {
  let run = try ShardedCase(group, stage: 1, optimizer: "adamw")
  guard let shared = run.shared else { return }
  if way == "limit", group.rank == 1 {
    // The signal would end the process.
    signal(SIGXFSZ, SIG_IGN)
    var limit = rlimit(rlim_cur: 10_000, rlim_max: 10_000)
    setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit)
  }
  let isElsewhere = way == "forwarded" && group.rank == 1
  let path =
    way == "parent"
    ? directory + "/\(OptimizerFiles.common)/saved"
    : isElsewhere ? directory + "/elsewhere/saved" : directory
  try save(shared, path) { place in
    switch way {
    case "forwarded":
      try FileManager.default.createDirectory(
        atPath: "\(place)/\(OptimizerFiles.share(1, of: group.size))",
        withIntermediateDirectories: true)
    case "rest": throw CheckpointError.diskFull(path: "\(place)/model.safetensors")
    default: break
    }
  }
}
