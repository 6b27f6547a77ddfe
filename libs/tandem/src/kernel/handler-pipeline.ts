/**
 * The way of a message to its handler: guards, interceptors, pipes, then *innermost* what the bus puts around the handler
 * itself (a unit of work, the query path). Nest's own ExternalContextCreator runs the enhancers, over a container that has the
 * application's modules but Tandem's global enhancers: APP_GUARD and its like expect HTTP and stay out unless inherited.
 * A handler without any enhancer is called straight away, at no cost.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { Injectable, type OnModuleInit, type Type } from '@nestjs/common';
import { ApplicationConfig, ContextIdFactory, type ContextId, DiscoveryService, ExternalContextCreator, ModuleRef, ModulesContainer, NestContainer } from '@nestjs/core';
import { AsyncContext, type CommandBus } from '@nestjs/cqrs';
import { isObservable } from 'rxjs';
import { TandemError } from './errors.js';
import { handledCommand, handledEvents, handledQuery, isEnhanced } from './handler-metadata.js';
import { PipelineSettings } from './pipeline-settings.js';

/** Nest's wrapper around a handler's provider, as CqrsModule hands it to `bind`. */
export type Handler = Parameters<CommandBus['bind']>[0];
type Method = 'execute' | 'handle';
type Handling = Record<Method, (message: object) => unknown>;

/** One message on its way through a pipeline. */
export interface Call {
  /** As it was sent. */
  readonly sent: object;
  /** The second argument of `execute`. */
  readonly context: AsyncContext | undefined;
}

export interface HandlerCall extends Call {
  /** As the pipes left it. */
  readonly message: object;
  /** Calls the handler. From the second attempt on, a request-scoped handler is resolved anew. */
  readonly handle: (attempt: number) => Promise<unknown>;
}

/** What a bus puts around the handler, inside of all enhancers. */
export type Innermost = (call: HandlerCall) => Promise<unknown>;
export type Pipeline = (message: object, context?: AsyncContext) => Promise<unknown>;

const PARAMS = 'tandem:handler-params';
/** One parameter, the message: without it Nest runs no pipes. */
const MESSAGE_PARAM = { '0:0': { index: 0, data: undefined, pipes: [] } };
const paramsFactory: Parameters<ExternalContextCreator['create']>[4] = { exchangeKeyForValue: (_type: number, _data: unknown, args: unknown[]) => args[0] as never };

/** An Observable that a handler returns is its result, while Nest would subscribe and return its last value. */
class BoxedObservable {
  constructor(readonly observable: unknown) {}
}
const box = (result: unknown): unknown => (isObservable(result) ? new BoxedObservable(result) : result);
const unbox = (result: unknown): unknown => (result instanceof BoxedObservable ? result.observable : result);

class EnhancerContainer extends NestContainer {
  constructor(
    config: ApplicationConfig,
    private readonly applicationModules: ModulesContainer,
  ) {
    super(config);
  }
  override getModules(): ModulesContainer {
    return this.applicationModules;
  }
}

/** The class of a handler as CqrsModule sees it: a factory's by what it made. */
export function handlerClassOf(handler: Handler): Type<object> {
  const made = (handler.instance as object | undefined)?.constructor as Type<object> | undefined;
  return ((handler.inject ? made : handler.metatype) ?? made) as Type<object>;
}

@Injectable()
export class HandlerPipeline implements OnModuleInit {
  private readonly config = new ApplicationConfig();
  private readonly contexts: ExternalContextCreator;
  private readonly calls = new AsyncLocalStorage<Call>();
  private hasGlobals = false;

  constructor(
    modules: ModulesContainer,
    private readonly moduleRef: ModuleRef,
    private readonly discovery: DiscoveryService,
    private readonly settings: PipelineSettings,
  ) {
    this.contexts = ExternalContextCreator.fromContainer(new EnhancerContainer(this.config, modules));
  }

  async onModuleInit(): Promise<void> {
    const { guards, inheritGlobalEnhancers, interceptors, pipes } = this.settings;
    const inherited = inheritGlobalEnhancers ? this.discovery.getProviders().filter(({ subtype }) => subtype) : [];
    const inheritedOf = (subtype: string) =>
      inherited.filter((wrapper) => wrapper.subtype === subtype && wrapper.isDependencyTreeStatic()).map(({ instance }) => instance as never);
    this.config.useGlobalGuards(...inheritedOf('guard'), ...(await this.instancesOf(guards)));
    this.config.useGlobalInterceptors(...inheritedOf('interceptor'), ...(await this.instancesOf(interceptors)));
    this.config.useGlobalPipes(...inheritedOf('pipe'), ...(await this.instancesOf(pipes)));
    this.hasGlobals = this.config.getGlobalGuards().length + this.config.getGlobalInterceptors().length + this.config.getGlobalPipes().length > 0;
  }

  /** The pipeline of one handler. */
  bind(handler: Handler, method: Method, innermost: Innermost = ({ handle }) => handle(1)): Pipeline {
    const handlerClass = handlerClassOf(handler);
    const declared = (handlerClass.prototype as Partial<Handling>)[method];
    describeParameters(handlerClass, method);
    const bare = !this.hasGlobals && !isEnhanced(handlerClass, declared);

    const pipelineOf = (instance: object, anew: () => Promise<object>, contextId?: ContextId): Pipeline => {
      const call = async (message: object, { sent, context }: Call): Promise<unknown> =>
        // The method is looked up at every call, so that a spy set later is seen.
        innermost({ sent, context, message, handle: async (attempt) => ((attempt === 1 ? instance : await anew()) as Handling)[method](message) });
      if (bare) return (message, context) => call(message, { sent: message, context });
      const late = { [method]: async (...args: unknown[]) => box(await call(args[0] as object, this.calls.getStore()!)) }[method]!;
      // Metadata of the method is looked up along the prototype chain: Reflector and Nest find it on `late` too.
      if (declared) Object.setPrototypeOf(late, declared);
      const inquirer = contextId && handler.id;
      const enhanced = this.contexts.create(
        instance as never,
        late,
        method,
        PARAMS,
        paramsFactory,
        contextId,
        inquirer,
        { guards: true, interceptors: true, filters: false },
        'cqrs',
      );
      return async (message, context) => unbox(await this.calls.run({ sent: message, context }, () => enhanced(message, context) as Promise<unknown>));
    };

    if (handler.isDependencyTreeStatic()) return pipelineOf(handler.instance, () => Promise.resolve(handler.instance));
    return async (message, given) => {
      const context = given ?? AsyncContext.of(message) ?? new AsyncContext();
      if (method === 'execute' && !AsyncContext.isAttached(message) && Object.isExtensible(message)) context.attachTo(message);
      const instance = await this.resolve(handler, context, context.id);
      return pipelineOf(instance, () => this.resolve(handler, context, ContextIdFactory.create()), context.id)(message, context);
    };
  }

  private resolve(handler: Handler, request: AsyncContext, contextId: ContextId): Promise<object> {
    this.moduleRef.registerRequestByContextId(request, contextId);
    return this.moduleRef.resolve<object>(handler.token as Type<object>, contextId, { strict: false });
  }

  /** The application's own instance where a module provides the class, else one made for Tandem. */
  private instancesOf<T extends object>(types: readonly Type<T>[]): Promise<T[]> {
    return Promise.all(types.map(async (type) => this.provided(type) ?? (await this.moduleRef.create(type))));
  }

  private provided<T extends object>(type: Type<T>): T | undefined {
    const wrapper = this.discovery.getProviders().find(({ token }) => token === type);
    if (wrapper && !wrapper.isDependencyTreeStatic()) {
      throw new TandemError('TANDEM_WIRING', `${type.name} is request-scoped and cannot run around every handler`, {
        next: 'Put it on the handlers that need it, with @UseInterceptors, @UseGuards or @UsePipes.',
      });
    }
    return wrapper?.instance as T | undefined;
  }
}

/** Tells Nest what the handler's method takes. TypeScript only emits that for methods with a decorator of their own. */
function describeParameters(handlerClass: Type<object>, method: Method): void {
  if (!Reflect.hasOwnMetadata(PARAMS, handlerClass, method)) Reflect.defineMetadata(PARAMS, MESSAGE_PARAM, handlerClass, method);
  const message = handledCommand(handlerClass) ?? handledQuery(handlerClass) ?? onlyOne(handledEvents(handlerClass));
  const prototype = handlerClass.prototype as object;
  if (message && !Reflect.hasMetadata('design:paramtypes', prototype, method)) Reflect.defineMetadata('design:paramtypes', [message], prototype, method);
}

const onlyOne = <T>(list: readonly T[]): T | undefined => (list.length === 1 ? list[0] : undefined);
