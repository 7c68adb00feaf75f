import CommandLineParsing
import JSONValues
import Optimizers
import Training

/// A schedule of transformers' names or of DeepSpeed's.
enum ScheduleName: OptionValue, Equatable {
  case share(LearningRateSchedule)
  case deepSpeed(String)

  static var valueName: String { optionChoices.joined(separator: "|") }

  static var optionChoices: [String] {
    LearningRateSchedule.allCases.map(\.rawValue) + DeepSpeedSchedule.names
  }

  init?(optionText: String) {
    if let schedule = LearningRateSchedule(rawValue: optionText) {
      self = .share(schedule)
    } else if DeepSpeedSchedule.names.contains(optionText) {
      self = .deepSpeed(optionText)
    } else {
      return nil
    }
  }

  var optionText: String {
    switch self {
    case .share(let schedule): schedule.rawValue
    case .deepSpeed(let name): name
    }
  }
}

/// The options that say how the learning rate changes.
enum ScheduleOptions {
  static let schedule = Option<ScheduleName>(
    "schedule", default: .share(.linear), group: "Optimiser",
    help:
      "How the learning rate changes; the last five are DeepSpeed's, which give rates themselves.")
  static let fields = Option<String>(
    "schedule-fields", default: nil, group: "Optimiser",
    help: "Fields of a schedule of DeepSpeed's, as a JSON object with its names.")

  /// Puts the schedule into a run's options.
  static func settle(_ options: inout TrainingOptions, _ arguments: ParsedArguments) throws {
    switch try arguments.value(schedule) {
    case .share(let chosen):
      guard arguments[fields] == nil else {
        throw UsageError("--schedule-fields: --schedule \(chosen.rawValue) has none")
      }
      options.schedule = chosen
    case .deepSpeed(let name):
      let text = arguments[fields] ?? "{}"
      guard let object = try? JSON.parse(text, rejectDuplicateKeys: true).objectValue else {
        throw UsageError("--schedule-fields is \(text), expected a JSON object")
      }
      do {
        options.deepSpeedSchedule = try ScheduleFields.schedule(name, object)
      } catch {
        throw UsageError("--schedule-fields: \(error)")
      }
    }
  }
}
